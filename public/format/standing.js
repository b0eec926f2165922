// @ts-check
/** The state of a task or the connection, in a sentence. Pure. */
import { connection, standing as text } from '../text/en.js'
import { describeWaiting } from './waiting.js'
import { describeDue, describeDuration, describeRoughly, describeSeconds } from './times.js'

/** @typedef {import('../protocol.js').Status} Status */
/** @typedef {import('../../src/protocol/task.js').TaskSummary & import('./waiting.js').Waits} Task */
/** @typedef {import('../task-stream.js').Connection} Connection */

/**
 * The text for a task in each status. `forHowLong` it has had the status; `took` is the time of its runs, '' if it never ran.
 * @satisfies {Record<Status, (task: Task, known: { forHowLong: string, took: string, now: number }) => string>}
 */
const STANDINGS = {
  SCHEDULED: ({ runAt }, { now }) => (runAt ? text.starts(describeDue(runAt, now)) : text.startsLater),
  WAITING: (task, { forHowLong }) => text.waiting(forHowLong),
  PENDING: (task, { forHowLong }) => text.pending(forHowLong),
  PROCESSING: (task, { forHowLong }) => text.running(forHowLong),
  RETRYING: ({ attempt, runAt }, { now }) => text.attemptFailed(attempt, runAt && describeDue(runAt, now)),
  CANCELLING: (task, { forHowLong }) => text.cancelling(forHowLong),
  COMPLETED: (task, { took }) => text.completed(took || describeDuration(0)),
  FAILED: (task, { took }) => text.failed(took),
  CANCELLED: (task, { took }) => text.cancelled(took),
  EXPIRED: () => text.expired,
}

/**
 * The answer at a glance: is the task done, how long did it take, what is it waiting for, as the server says it where it
 * does. `sinceAt` is when this status began. For a status that only a newer server knows, its name.
 * @param {Task} task @param {string} sinceAt @param {number} now
 * @returns {string}
 */
export function describeStanding(task, sinceAt, now) {
  const reason = describeWaiting(task)
  if (reason !== '') return reason
  const forHowLong = describeSeconds(now - Date.parse(sinceAt))
  const runMs = runMsOf(task, now)
  const took = runMs === null ? '' : describeDuration(runMs)
  const describe = STANDINGS[/** @type {Status} */ (task.status)]
  return describe?.(task, { forHowLong, took, now }) ?? task.status
}

/** How long a task ran, or null if it never did. @param {Task} task @param {number} now */
function runMsOf(task, now) {
  if (task.startedAt === null) return null
  return (task.finishedAt ? Date.parse(task.finishedAt) : now) - Date.parse(task.startedAt)
}

/** The state of a connection: how old the data may be, and when the next attempt is made. @param {Connection & { lostAt?: number }} standing @param {number} now */
export function describeConnection({ state, text: standing, retryAt, lostAt }, now) {
  if (state !== 'reconnecting' && state !== 'away') return standing
  const leftMs = (retryAt ?? 0) - Date.now()
  const when = leftMs >= 1_000 ? connection.inSeconds(Math.round(leftMs / 1_000)) : connection.soon
  const ageMs = lostAt === undefined ? 0 : now - lostAt
  const age = ageMs >= 2_000 ? connection.lastNews(describeRoughly(ageMs)) : ''
  return `${state === 'away' ? connection.away : connection.reconnecting}${when}${age}`
}
