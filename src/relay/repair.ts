/** Wakes lanes that nothing would release: see `store/release/repair.ts`. */
import type { Database } from '../db/database.js'
import type { Log } from '../log.js'
import { repairRelease } from '../store/release/repair.js'

/** One check. Safe to run in several relays at once. */
export async function repairOnce(db: Database, log: Log): Promise<boolean> {
  const count = await repairRelease(db)
  if (count > 0) log.warn({ count }, 'found limits or lanes that nothing would have released; released them')
  return false
}
