/**
 * The net under the release: wakes lanes that nothing else would wake, and forgets lanes, shares and tenants of the past.
 * The statements of the store leave nothing to wake behind, but a restored backup or manual SQL can.
 */
import type { Database, Statement } from '../../db/database.js'

const REPAIR_RELEASE: Statement = { name: 'repair_release', text: 'select taskwire.repair_release() as repaired' }

/** Returns how many rows nothing else would have woken. */
export async function repairRelease(db: Database): Promise<number> {
  const [row] = await db.run<{ repaired: number }>(REPAIR_RELEASE, [])
  return row?.repaired ?? 0
}
