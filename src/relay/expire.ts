/** Ends tasks that nobody started in time. */
import type { Broker } from '../broker/broker.js'
import type { Database } from '../db/database.js'
import { expireTasks } from '../tasks/store/index.js'

const MAX_EXPIRED = 500

/** One sweep. True when there may be more. Safe in several relays at once. */
export async function expireOnce({ db, broker }: { db: Database; broker: Broker }): Promise<boolean> {
  const transitions = await expireTasks(db, MAX_EXPIRED)
  if (transitions.length > 0) await broker.events.publish(transitions)
  return transitions.length === MAX_EXPIRED
}
