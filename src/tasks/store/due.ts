/**
 * Takes deliveries that are due: later starts whose time has come, and what nobody claimed in time.
 *
 * Several relays may take at once (`skip locked`). Each delivery taken is given a new due time, further away each time,
 * in case this hand-over is lost too; the claim deletes it. A SCHEDULED task becomes PENDING in the same statement. A
 * delivery that its task can no longer use is deleted. Out: what to hand to the broker, and the transitions to publish.
 */
import type { Database, Statement } from '../../db/database.js'
import type { TransitionMessage } from '../../protocol/stream.js'
import type { TaskId } from '../../protocol/task.js'
import type { AttemptRef } from './claim.js'
import { toTransitionMessage } from './rows.js'

export interface DueDelivery extends AttemptRef {
  priority: number
}

/** However often a hand-over was lost, the next comes after this time at the latest. */
export const MAX_PAUSE_MS = 30_000

const TAKE_DUE: Statement = {
  name: 'take_due_deliveries',
  text: `
with due as (
  select d.task_id, d.attempt, coalesce((
    select t.attempt = d.attempt - 1 and t.status in ('SCHEDULED', 'PENDING', 'RETRYING')
    from taskwire.tasks t where t.id = any(array[d.task_id])), false) as is_usable
  from taskwire.deliveries d where d.due_at <= now()
  order by d.due_at limit $1 for update of d skip locked
), started as (
  update taskwire.tasks t set status = 'PENDING', version = t.version + 1, run_at = null
  from due where t.id = any(array[due.task_id]) and t.status = 'SCHEDULED' and due.is_usable
  returning t.id, t.tenant, t.version, t.attempt, now()::timestamptz(3) as at
), history as (
  insert into taskwire.transitions (task_id, version, tenant, from_status, status, attempt, at)
  select id, version, tenant, 'SCHEDULED', 'PENDING', attempt, at from started
), kept as (
  update taskwire.deliveries d
  set hand_overs = d.hand_overs + 1,
    due_at = now() + least($2::double precision * power(2, least(d.hand_overs, 10)), greatest($2::double precision, $3::double precision)) * interval '1 ms'
  from due where d.task_id = any(array[due.task_id]) and due.is_usable
  returning d.task_id, d.attempt, d.priority
), dropped as (
  delete from taskwire.deliveries d using due where d.task_id = any(array[due.task_id]) and not due.is_usable
)
select task_id as "taskId", attempt, priority, null as version, null as at from kept
union all select id, attempt, null, version, at from started`,
}

/** A delivery that was taken, or the transition of a task that started. */
type TakenRow = (DueDelivery & { version: null }) | { taskId: TaskId; attempt: number; version: number; at: Date }

/** @param claimWindowMs how long workers have to claim what is handed over now; doubled with each hand-over, to 30 s */
export async function takeDueDeliveries(
  db: Database,
  limit: number,
  claimWindowMs: number,
): Promise<{ deliveries: DueDelivery[]; transitions: TransitionMessage[] }> {
  const rows = await db.run<TakenRow>(TAKE_DUE, [limit, claimWindowMs, MAX_PAUSE_MS])
  const deliveries: DueDelivery[] = []
  const transitions: TransitionMessage[] = []
  for (const row of rows) {
    if (row.version === null) deliveries.push({ taskId: row.taskId, attempt: row.attempt, priority: row.priority })
    else transitions.push(toTransitionMessage({ ...row, fromStatus: 'SCHEDULED', status: 'PENDING', reason: null }))
  }
  return { deliveries, transitions }
}
