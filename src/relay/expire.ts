/** Expires tasks that were not started in time. */
import type { Broker } from '../broker/broker.js'
import type { Database } from '../db/database.js'
import type { Log } from '../log.js'
import { expireTasksIfLate } from '../store/tasks/expire.js'
import { announce } from './announce.js'

const MAX_EXPIRED = 500

/** One sweep. True when there may be more. Safe to run in several relays at once. */
export async function expireOnce({ db, broker, log }: { db: Database; broker: Pick<Broker, 'events'>; log: Log }): Promise<boolean> {
  const transitions = await expireTasksIfLate(db, MAX_EXPIRED)
  announce({ broker, log }, transitions)
  return transitions.length === MAX_EXPIRED
}
