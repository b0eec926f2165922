/**
 * The user's wish that tasks end: durable before anybody is told.
 *
 * In: ids. A task that waits is CANCELLED at once and its delivery deleted; one that runs becomes CANCELLING, which its
 * worker is told and finds by itself; one that is CANCELLING or has ended stays as it is. Out: the transitions, to be
 * published by the caller.
 */
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Database, Statement } from '../../db/database.js'
import type { Event } from '../../protocol/stream.js'
import type { TaskId } from '../../protocol/task.js'
import { FACTS, toEvent, type TransitionRow } from './rows.js'

const CANCEL_TASKS: Statement = {
  name: 'cancel_tasks',
  isPlannedAnew: true,
  text: `
with recursive input as (
  select t.id from taskwire.tasks t where t.id = any($1::text::uuid[]) and t.tenant = $2
  union
  select child.id from input join taskwire.tasks child on child.parent_id = any(array[input.id]) where $4::text::boolean
), current as (
  select t.id, t.status as from_status,
    (case when t.status = 'PROCESSING' then 'CANCELLING' else 'CANCELLED' end)::taskwire.task_status as status
  from input i join taskwire.tasks t on t.id = any(array[i.id])
  where t.status in ('SCHEDULED', 'WAITING', 'PENDING', 'RETRYING', 'PROCESSING')
  order by t.id for update of t
), moved as (
  update taskwire.tasks t
  set status = c.status, version = t.version + 1, run_at = null,
    finished_at = case when c.status = 'CANCELLED' then now() end
  from current c where t.id = any(array[c.id])
  returning t.id, t.tenant, t.version, c.from_status, t.status, t.attempt, now()::timestamptz(3) as at, ${FACTS}
), history as (
  insert into taskwire.transitions (task_id, version, tenant, from_status, status, attempt, at, reason)
  select id, version, tenant, from_status, status, attempt, at, $3 from moved
), outbox as (
  delete from taskwire.deliveries d using moved m where d.task_id = any(array[m.id]) and m.status = 'CANCELLED'
)
select id as "taskId", version, from_status as "fromStatus", status, attempt, at, $3::text as reason, facts from moved`,
}

/** @param withChildren whether the tasks that these have made, and so on, are cancelled too */
export async function cancelTasks(
  db: Database,
  tenant: string,
  ids: readonly TaskId[],
  { reason, withChildren }: { reason: string | null; withChildren: boolean },
): Promise<Event[]> {
  const rows = await db.run<TransitionRow>(CANCEL_TASKS, [toArrayLiteral(ids), tenant, reason, String(withChildren)])
  return rows.map(toEvent)
}
