/**
 * Takes due deliveries: later starts whose time has come, and deliveries that were not claimed in time.
 *
 * Several relays may take at once (`skip locked`). Each delivery taken gets a new due time, further away each time, in
 * case this dispatch is lost too; the claim deletes it. A SCHEDULED task becomes PENDING in the same statement. If
 * another transaction is changing the task (a cancel locks the task first and then its delivery, so waiting here would
 * deadlock), its delivery stays due. A delivery that its task can no longer use is deleted. The delivery of a gated task
 * is not dispatched: it waits in its lane from now on (`store/release/`). So does one that was released for workers
 * which are gone: it must not hold room in a limit. Out: the deliveries to dispatch, and the
 * transitions to publish.
 */
import type { Database, Statement } from '../../db/database.js'
import { asStatus, inStatuses } from '../../db/status-sql.js'
import type { TaskFacts } from '../../protocol/notice.js'
import { DELIVERABLE_STATUSES } from '../../protocol/status.js'
import type { Event } from '../../protocol/stream.js'
import type { TaskId } from '../../protocol/task.js'
import type { AttemptRef } from '../attempts/claim.js'
import { appendArrivals, isGated, laneOf } from '../release/gates.js'
import { RELEASED_PRIORITY } from '../release/priority.js'
import { FACTS, toEvent } from '../rows.js'
import { moveTasks } from '../transition.js'

export interface DueDelivery extends AttemptRef {
  queue: string
  priority: number
}

/** However often its dispatch was lost, a delivery is dispatched again after at most this time. */
export const MAX_PAUSE_MS = 30_000

const TAKE_DUE = moveTasks({
  name: 'take_due_deliveries',
  input: [
    `due as (
  select d.task_id, d.attempt, t.status, t.type, t.tenant, t.queue, t.priority, t.concurrency_key, t.sequence_key,
    (not d.is_released or taskwire.slots_of(d.queue) = 0) and ${isGated('t')} as is_gated
  from (
    select *
    from taskwire.deliveries d
    where d.queue = $4 and d.due_at <= now()
    order by d.due_at
    limit $1
    for update of d skip locked
  ) d
  left join lateral (
    select *
    from taskwire.tasks t
    where t.id = any(array[d.task_id]) and t.attempt = d.attempt - 1 and t.status ${inStatuses(DELIVERABLE_STATUSES)}
    offset 0
  ) t on true
)`,
  ],
  current: {
    status: asStatus('PENDING'),
    from: 'due',
    id: 'due.task_id',
    where: `due.status = 'SCHEDULED' and t.status = 'SCHEDULED'`,
    skipsLocked: true,
  },
  set: ['run_at = null'],
  returning: [FACTS],
  follow: [
    `usable as (
  select *
  from due
  where due.status <> 'SCHEDULED' or due.task_id in (select id from moved)
)`,
    `gated as (
  update taskwire.deliveries d
  set lane_id = ${laneOf('u', 'u.status')}, ready_at = coalesce(d.ready_at, now()), due_at = 'infinity', is_released = false
  from usable u
  where d.task_id = any(array[u.task_id]) and u.is_gated
  returning u.*
)`,
    appendArrivals('gated s', { status: 's.status' }),
    `kept as (
  update taskwire.deliveries d
  set hand_overs = d.hand_overs + 1,
    lane_id = case when d.is_released then d.lane_id end,
    due_at = now() + least(
      $2::double precision * power(2, least(d.hand_overs, 10)),
      greatest($2::double precision, $3::double precision)
    ) * interval '1 ms'
  from usable u
  where d.task_id = any(array[u.task_id]) and not u.is_gated
  returning d.task_id, d.attempt, d.queue, case when d.is_released then ${RELEASED_PRIORITY} else d.priority end as priority
)`,
    `dropped as (
  delete from taskwire.deliveries d
  using due
  where d.task_id = any(array[due.task_id]) and due.status is null
)`,
  ],
  answer: `select task_id as "taskId", attempt, queue, priority, null as tenant, null as version, null as at, null as facts
from kept
union all
select id, attempt, null, null, tenant, version, at, facts
from moved`,
})

/** A delivery that was taken, or the transition of a task that started. */
type TakenRow =
  | (DueDelivery & { version: null })
  | { taskId: TaskId; attempt: number; tenant: string; version: number; at: Date; facts: TaskFacts }

/**
 * Takes due deliveries of one queue.
 * @param claimWindowMs how long workers have to claim what is dispatched now; doubled with each dispatch, up to 30 s
 */
export async function takeDueDeliveries(
  db: Database,
  queue: string,
  limit: number,
  claimWindowMs: number,
): Promise<{ deliveries: DueDelivery[]; transitions: Event[] }> {
  const rows = await db.run<TakenRow>(TAKE_DUE, [limit, claimWindowMs, MAX_PAUSE_MS, queue])
  const deliveries: DueDelivery[] = []
  const transitions: Event[] = []
  for (const row of rows) {
    if (row.version === null)
      deliveries.push({ taskId: row.taskId, attempt: row.attempt, queue: row.queue, priority: row.priority })
    else transitions.push(toEvent({ ...row, fromStatus: 'SCHEDULED', status: 'PENDING', reason: null }))
  }
  return { deliveries, transitions }
}

const LIST_WAITING_QUEUES: Statement = {
  name: 'list_waiting_queues',
  // Skips from one queue to the next in the index, however many deliveries are in between.
  text: `
with recursive names as (
  (select d.queue from taskwire.deliveries d order by d.queue limit 1)
  union all
  select (select d.queue from taskwire.deliveries d where d.queue > names.queue order by d.queue limit 1) from names where names.queue is not null
)
select queue from names where queue is not null`,
}

/** The queues that have deliveries. */
export async function listWaitingQueues(db: Database): Promise<string[]> {
  return (await db.run<{ queue: string }>(LIST_WAITING_QUEUES, [])).map(({ queue }) => queue)
}

const MAKE_PENDING_DUE: Statement = {
  name: 'make_pending_due',
  text: `
update taskwire.deliveries d
set due_at = now()
from taskwire.tasks t
where t.id = d.task_id and t.status = 'PENDING' and d.due_at > now()`,
}

/** For tests that run tasks without a broker: makes deliveries that a broker would already hold due at once. */
export async function makePendingDeliveriesDue(db: Database): Promise<void> {
  await db.run(MAKE_PENDING_DUE, [])
}
