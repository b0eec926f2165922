/** Expires tasks that were not started in time. */
import type { Publisher } from '../broker/publisher.js'
import type { Database } from '../db/database.js'
import { expireTasksIfLate } from '../store/tasks/expire.js'

const MAX_EXPIRED = 500

/** One sweep. True when there may be more. Safe to run in several relays at once. */
export async function expireOnce({ db, publisher }: { db: Database; publisher: Publisher }): Promise<boolean> {
  const transitions = await expireTasksIfLate(db, MAX_EXPIRED)
  publisher.publish(transitions)
  return transitions.length === MAX_EXPIRED
}
