/**
 * Expires tasks that were not started in time. Several relays may do so at once: each skips rows that another has
 * locked.
 */
import type { Database } from '../../db/database.js'
import { asStatus, inStatuses } from '../../db/status-sql.js'
import { IDLE_STATUSES } from '../../protocol/status.js'
import type { Event } from '../../protocol/stream.js'
import { FACTS, toEvent, type TransitionRow } from '../rows.js'
import { deleteDeliveries, moveTasks, TRANSITION_COLUMNS } from '../transition.js'

const EXPIRE_TASKS = moveTasks({
  name: 'expire_tasks',
  forceCustomPlan: true,
  input: [
    `late as (
  select d.task_id
  from taskwire.deliveries d
  where d.expires_at <= now()
  order by d.expires_at
  limit $1
  for update of d skip locked
)`,
  ],
  current: {
    status: asStatus('EXPIRED'),
    reason: `'not started in time'`,
    from: 'late',
    id: 'late.task_id',
    where: `t.status ${inStatuses(IDLE_STATUSES)}`,
    skipsLocked: true,
  },
  set: ['run_at = null', 'finished_at = now()'],
  returning: [FACTS],
  follow: [deleteDeliveries()],
  answer: `select ${TRANSITION_COLUMNS}, m.facts
from moved m`,
})

/** Expires tasks whose time to start is over, at most `limit`. The caller publishes the transitions. */
export async function expireTasksIfLate(db: Database, limit: number): Promise<Event[]> {
  return (await db.run<TransitionRow>(EXPIRE_TASKS, [limit])).map(toEvent)
}
