/**
 * Puts tasks back whose attempt sent no heartbeat within its lease.
 *
 * Who is to blame? When a worker is lost with several attempts, the cause cannot be told. None of them is blamed, but
 * each is a suspect, and its next attempt runs in a process of its own (see `worker/slots.ts`). The guilty one then
 * ends only that process, and fails with the cause. An attempt that was alone in its worker is blamed for the loss, up
 * to a limit: a task that takes its worker down on every run must not do so forever.
 */
import type { Publisher } from '../broker/publisher.js'
import { crashPoint } from '../crash-point.js'
import type { Database } from '../db/database.js'
import type { Log } from '../log.js'
import { findLostAttempts, LOST_ALONE, type LostAttempt } from '../store/attempts/lease.js'
import { settleAttemptsIfCurrent, type Settlement } from '../store/attempts/settle.js'

const MAX_RESCUES = 500
/**
 * A task whose attempts were lost with others is FAILED after this many times the limit, so that no task runs forever.
 */
const MAX_LOST_FACTOR = 10

export interface RescueOptions {
  db: Database
  publisher: Publisher
  log: Log
  /** After this many attempts that were lost alone, a task is FAILED. */
  maxLostAttempts: number
}

/** One search and rescue. True when there may be more. Safe in several relays at once: each attempt is settled once. */
export async function rescueOnce({ db, publisher, log, maxLostAttempts }: RescueOptions): Promise<boolean> {
  const lost = await findLostAttempts(db, MAX_RESCUES)
  if (lost.length === 0) return false
  const messages = (
    await settleAttemptsIfCurrent(
      db,
      lost.map((attempt) => settleLost(attempt, maxLostAttempts)),
    )
  ).filter((message) => message !== undefined)
  crashPoint('relay:after-rescue')
  for (const { taskId, attempt, worker } of lost)
    log.warn({ taskId, attempt, worker }, 'an attempt was lost: no heartbeat within its lease')
  publisher.publish(messages)
  return lost.length === MAX_RESCUES
}

function settleLost(
  { taskId, attempt, worker, isShared, lostBefore, lostAloneBefore }: LostAttempt,
  maxLostAttempts: number,
): Settlement {
  const count = isShared ? lostBefore + 1 : lostAloneBefore + 1
  const message = `worker lost ${count} ${count === 1 ? 'time' : 'times'}`
  const said = `${worker} sent no heartbeat within the lease`
  const error = isShared
    ? { name: 'WorkerLostWithOthers', message: `${said}; it was running other attempts too` }
    : { name: LOST_ALONE, message: said }
  if (count >= (isShared ? MAX_LOST_FACTOR : 1) * maxLostAttempts) {
    return {
      taskId,
      attempt,
      outcome: 'lost',
      status: 'FAILED',
      reason: message,
      failure: { code: 'worker_lost', message, attempt },
      error,
    }
  }
  const reason = isShared
    ? 'worker lost with other attempts; put back, to run alone'
    : `${message}; put back, to run alone`
  return { taskId, attempt, outcome: 'lost', status: 'PENDING', reason, error }
}
