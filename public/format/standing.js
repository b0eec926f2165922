/** The state of a task or the connection, in a sentence. Pure. */
import { connection, standing as text } from '../text/en.js'
import { describeDue, describeDuration, describeRoughly, describeSeconds } from './times.js'

/**
 * The answer at a glance: is the task done, how long did it take, what is it waiting for. `sinceAt` is when this status
 * began.
 */
export function describeStanding(task, sinceAt, now) {
  const forHowLong = describeSeconds(now - Date.parse(sinceAt))
  const runMs = runMsOf(task, now)
  const took = runMs === null ? '' : describeDuration(runMs)
  switch (task.status) {
    case 'SCHEDULED':
      return task.runAt ? text.starts(describeDue(task.runAt, now)) : text.startsLater
    case 'WAITING':
      return text.waiting(forHowLong)
    case 'PENDING':
      return text.pending(forHowLong)
    case 'PROCESSING':
      return text.running(forHowLong)
    case 'RETRYING':
      return text.attemptFailed(task.attempt, task.runAt && describeDue(task.runAt, now))
    case 'CANCELLING':
      return text.cancelling(forHowLong)
    case 'COMPLETED':
      return text.completed(took || describeDuration(0))
    case 'FAILED':
      return text.failed(took)
    case 'CANCELLED':
      return text.cancelled(took)
    default:
      return text.expired
  }
}

/** How long a task ran, or null if it never did. */
function runMsOf(task, now) {
  if (task.startedAt === null) return null
  return (task.finishedAt ? Date.parse(task.finishedAt) : now) - Date.parse(task.startedAt)
}

/** The state of a connection: how old the data may be, and when the next attempt is made. */
export function describeConnection({ state, text: standing, retryAt, lostAt }, now) {
  if (state !== 'reconnecting' && state !== 'away') return standing
  const leftMs = (retryAt ?? 0) - Date.now()
  const when = leftMs >= 1_000 ? connection.inSeconds(Math.round(leftMs / 1_000)) : connection.soon
  const ageMs = lostAt === undefined ? 0 : now - lostAt
  const age = ageMs >= 2_000 ? connection.lastNews(describeRoughly(ageMs)) : ''
  return `${state === 'away' ? connection.away : connection.reconnecting}${when}${age}`
}
