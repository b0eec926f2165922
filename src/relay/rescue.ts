/**
 * Puts tasks back whose attempt gave no sign of life within its lease.
 *
 * Whose fault is it? Among several attempts that a worker ran when it was lost, nobody can tell: none of them is blamed, and each is
 * a suspect, whose next attempt runs in a process of its own (see `worker/slots.ts`). The guilty one ends that process and nothing
 * else, and fails by what it did. An attempt that was alone in its worker is blamed for its end, up to a limit: a task
 * that takes its worker down each time it runs must not do so for ever.
 */
import type { Publisher } from '../broker/publisher.js'
import { crashPoint } from '../crash-point.js'
import type { Database } from '../db/database.js'
import type { Log } from '../log.js'
import { findLostAttempts, LOST_ALONE, type LostAttempt } from '../store/attempts/lease.js'
import { settleAttemptsIfCurrent, type Settlement } from '../store/attempts/settle.js'

const MAX_RESCUES = 500
/** Lost so many times as often as it may be blamed for, a task ends although it was never alone: nothing runs for ever. */
const MAX_LOST_FACTOR = 10

export interface RescueOptions {
  db: Database
  publisher: Publisher
  log: Log
  /** After so many attempts that were lost alone a task is FAILED. */
  maxLostAttempts: number
}

/** One search and rescue. True when there may be more. Safe in several relays at once: each attempt is settled once. */
export async function rescueOnce({ db, publisher, log, maxLostAttempts }: RescueOptions): Promise<boolean> {
  const lost = await findLostAttempts(db, MAX_RESCUES)
  if (lost.length === 0) return false
  const messages = (await settleAttemptsIfCurrent(db, lost.map((attempt) => settleLost(attempt, maxLostAttempts)))).filter((message) => message !== undefined)
  crashPoint('relay:after-rescue')
  for (const { taskId, attempt, worker } of lost) log.warn({ taskId, attempt, worker }, 'an attempt was lost')
  publisher.publish(messages)
  return lost.length === MAX_RESCUES
}

function settleLost({ taskId, attempt, worker, isShared, lostBefore, lostAloneBefore }: LostAttempt, maxLostAttempts: number): Settlement {
  const count = isShared ? lostBefore + 1 : lostAloneBefore + 1
  const message = `worker lost ${count} ${count === 1 ? 'time' : 'times'}`
  const said = `${worker} gave no sign of life within the lease`
  const error = isShared ? { name: 'WorkerLostWithOthers', message: `${said}; it ran other attempts, too` } : { name: LOST_ALONE, message: said }
  if (count >= (isShared ? MAX_LOST_FACTOR : 1) * maxLostAttempts) {
    return { taskId, attempt, outcome: 'lost', status: 'FAILED', reason: message, failure: { code: 'worker_lost', message, attempt }, error }
  }
  const reason = isShared ? 'worker lost with other attempts; put back, to run alone' : `${message}; put back, to run alone`
  return { taskId, attempt, outcome: 'lost', status: 'PENDING', reason, error }
}
