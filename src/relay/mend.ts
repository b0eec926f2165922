/** Wakes what the release might have left behind. */
import type { Database } from '../db/database.js'
import type { Log } from '../log.js'
import { mendRelease } from '../store/release/mend.js'

/** One check. Safe to run in several relays at once. */
export async function mendOnce(db: Database, log: Log): Promise<boolean> {
  const count = await mendRelease(db)
  if (count > 0) log.warn({ count }, 'found limits or lanes that nothing would have released; released them')
  return false
}
