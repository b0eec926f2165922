/**
 * Puts tasks back whose attempt gave no sign of life within its lease. That is not the task's fault, up to a limit: a
 * task that takes its worker down each time it runs must not do so for ever.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { Broker } from '../broker/broker.js'
import { crashPoint } from '../crash-point.js'
import type { Database } from '../db/database.js'
import { findLostAttempts, settleAttemptsIfCurrent, type LostAttempt, type Settlement } from '../tasks/store/index.js'
import { announce } from './announce.js'

const MAX_RESCUES = 500

export interface RescueOptions {
  db: Database
  broker: Pick<Broker, 'events'>
  log: FastifyBaseLogger
  /** After so many lost attempts a task is FAILED. */
  maxLostAttempts: number
}

/** One search and rescue. True when there may be more. Safe in several relays at once: each attempt is settled once. */
export async function rescueOnce({ db, broker, log, maxLostAttempts }: RescueOptions): Promise<boolean> {
  const lost = await findLostAttempts(db, MAX_RESCUES)
  if (lost.length === 0) return false
  const messages = (await settleAttemptsIfCurrent(db, lost.map((attempt) => settleLost(attempt, maxLostAttempts)))).filter((message) => message !== undefined)
  crashPoint('relay:after-rescue')
  for (const { taskId, attempt, worker } of lost) log.warn({ taskId, attempt, worker }, 'an attempt was lost')
  announce({ broker, log }, messages)
  return lost.length === MAX_RESCUES
}

function settleLost({ taskId, attempt, worker, lostBefore }: LostAttempt, maxLostAttempts: number): Settlement {
  const count = lostBefore + 1
  const message = `worker lost ${count} ${count === 1 ? 'time' : 'times'}`
  const error = { name: 'WorkerLost', message: `${worker} gave no sign of life within the lease` }
  if (count < maxLostAttempts) return { taskId, attempt, outcome: 'lost', status: 'PENDING', reason: `${message}; put back`, error }
  return { taskId, attempt, outcome: 'lost', status: 'FAILED', reason: message, failure: { code: 'worker_lost', message, attempt }, error }
}
