/** A watcher's copy of a task: how a message changes it. */
import { isFinal } from '../protocol.js'

/**
 * The one rule by which a watcher turns messages into the task it shows. A snapshot replaces the copy; a version at or
 * below the held one is `stale`; the next version is `applied`; a higher one is a `gap`, to be refilled from the
 * server. Pure.
 */
export function fold(task, message) {
  switch (message.type) {
    case 'snapshot': {
      const replaces = task === undefined || message.reset === true || message.version >= task.version
      return replaces ? applied(message.task) : { task, outcome: 'stale' }
    }
    case 'transition': {
      if (task !== undefined && message.version <= task.version) return { task, outcome: 'stale' }
      if (task === undefined || message.version > task.version + 1) return { task, outcome: 'gap' }
      return applied(applyTransition(task, message))
    }
    case 'progress': {
      if (task === undefined || message.version > task.version) return { task, outcome: 'gap' }
      const isStale =
        message.version < task.version ||
        message.attempt !== task.attempt ||
        (task.progress !== null && message.progress.at < task.progress.at)
      return isStale ? { task, outcome: 'stale' } : applied({ ...task, progress: message.progress })
    }
    default: // `resumed`, and any type that a newer server may add
      return applied(task)
  }
}

/**
 * What the task waits for, after a message; null when nothing is known of it. `waiting` replaces it, and it holds as long
 * as the task does not start or end. Pure.
 */
export function foldWaiting(waitingFor, message) {
  if (message.type === 'waiting') return message.waitingFor
  const { status } = message
  const isWaiting = status !== 'PROCESSING' && status !== 'CANCELLING' && !isFinal(status)
  return isWaiting ? waitingFor : null
}

function applied(task) {
  return { task, outcome: 'applied' }
}

function applyTransition(task, { status, version, attempt, at, runAt, result, failure, edited, changes }) {
  if (edited) return { ...task, version, ...changes }
  const isRunning = status === 'PROCESSING'
  return {
    ...task,
    status,
    version,
    attempt,
    runAt: runAt ?? null,
    startedAt: isRunning ? (task.startedAt ?? at) : task.startedAt,
    progress: isRunning ? null : task.progress,
    result: status === 'COMPLETED' ? (result ?? null) : task.result,
    failure: status === 'FAILED' ? (failure ?? null) : task.failure,
    finishedAt: isFinal(status) ? at : task.finishedAt,
  }
}
