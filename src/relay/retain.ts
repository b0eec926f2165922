/** Removes what has had its time. */
import type { Database } from '../db/database.js'
import { deleteExpiredKeys } from '../tasks/store/index.js'

const MAX_DELETES = 1_000

/** One sweep. True when there may be more. Safe in several relays at once. */
export async function retainOnce(db: Database): Promise<boolean> {
  return (await deleteExpiredKeys(db, MAX_DELETES)) === MAX_DELETES
}
