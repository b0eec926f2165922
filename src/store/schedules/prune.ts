/** The history of schedules is kept for a year, and slots without a task for 30 days. */
import type { Database, Statement } from '../../db/database.js'

/** How long a slot that has a task is kept. A backfill of an earlier period would create its task again. */
export const SLOT_DAYS = 366
const EMPTY_SLOT_DAYS = 30

/** Two statements, each for one index: slots that are kept longer would be read again each time. */
const deleteOlder = (name: string, which: string, days: number): Statement => ({
  name,
  text: `
delete from taskwire.schedule_slots h using (
  select tenant, schedule, slot
  from taskwire.schedule_slots
  where task_id ${which} and made_at < now() - interval '${days} days'
  order by made_at
  limit $1
  for update skip locked
) old
where h.tenant = any(array[old.tenant]) and h.schedule = any(array[old.schedule]) and h.slot = any(array[old.slot])
returning 1`,
})
const DELETE_FILLED = deleteOlder('delete_old_filled_slots', 'is not null', SLOT_DAYS)
const DELETE_EMPTY = deleteOlder('delete_old_empty_slots', 'is null', EMPTY_SLOT_DAYS)

/** Deletes old slots, at most `limit` of each kind. Returns the larger of the two numbers. */
export async function deleteOldSlots(db: Database, limit: number): Promise<number> {
  const filled = await db.run(DELETE_FILLED, [limit])
  const empty = await db.run(DELETE_EMPTY, [limit])
  return Math.max(filled.length, empty.length)
}
