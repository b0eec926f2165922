/**
 * Cancels tasks on request. The request is durable before it is published.
 *
 * In: ids. A waiting task is CANCELLED at once and its delivery deleted. A running one becomes CANCELLING; its worker
 * is notified, and otherwise finds out when it renews the lease. A task that is CANCELLING or has ended is unchanged.
 * Out: the transitions, which the caller publishes.
 */
import type { Principal } from '../../access/principal.js'
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Database } from '../../db/database.js'
import { asStatus, inStatuses } from '../../db/status-sql.js'
import { IDLE_STATUSES } from '../../protocol/status.js'
import type { Event } from '../../protocol/stream.js'
import type { TaskId } from '../../protocol/task.js'
import { FACTS, toEvent, type TransitionRow } from '../rows.js'
import { deleteDeliveries, moveTasks, TRANSITION_COLUMNS } from '../transition.js'

const CANCEL_TASKS = moveTasks({
  name: 'cancel_tasks',
  forceCustomPlan: true,
  input: [
    `recursive input as (
  select t.id
  from taskwire.tasks t
  where t.id = any($1::text::uuid[]) and t.tenant = $2
  union
  select child.id
  from input join taskwire.tasks child on child.parent_id = any(array[input.id]) and child.tenant = $2
  where $4::text::boolean
)`,
  ],
  current: {
    status: `case when t.status = 'PROCESSING' then ${asStatus('CANCELLING')} else ${asStatus('CANCELLED')} end`,
    reason: '$3::text',
    from: '(select * from input order by id) i',
    id: 'i.id',
    where: `t.status ${inStatuses([...IDLE_STATUSES, 'PROCESSING'])}`,
  },
  set: ['run_at = null', `finished_at = case when c.status = 'CANCELLED' then now() end`],
  returning: [FACTS],
  follow: [deleteDeliveries(`m.status = 'CANCELLED'`)],
  answer: `select ${TRANSITION_COLUMNS}, m.facts
from moved m`,
})

/** @param withChildren whether tasks created by these, and so on, are cancelled too */
export async function cancelTasksIfUnfinished(
  { tenant }: Principal,
  db: Database,
  ids: readonly TaskId[],
  { reason, withChildren }: { reason: string | null; withChildren: boolean },
): Promise<Event[]> {
  const rows = await db.run<TransitionRow>(CANCEL_TASKS, [toArrayLiteral(ids), tenant, reason, String(withChildren)])
  return rows.map(toEvent)
}
