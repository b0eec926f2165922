/**
 * The net under the release: wakes what nothing else would wake, and forgets lanes, rates and tenants of the past. The
 * statements of the store leave nothing to wake behind, but a restored backup or manual SQL can.
 */
import type { Database, Statement } from '../../db/database.js'

const MEND_RELEASE: Statement = { name: 'mend_release', text: 'select taskwire.mend_release() as mended' }

/** Returns how many rows nothing else would have woken. */
export async function mendRelease(db: Database): Promise<number> {
  const [row] = await db.run<{ mended: number }>(MEND_RELEASE, [])
  return row?.mended ?? 0
}
