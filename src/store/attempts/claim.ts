/**
 * Starts attempts that may still start: the fence against every late, repeated or forged delivery.
 *
 * In: pairs of task and attempt, and the worker's name. A pair is claimed when the task is PENDING or RETRYING, its
 * last attempt is the previous one, and it has not expired. The task then becomes PROCESSING, the transition and the
 * lease are written, and the delivery is deleted. Out: per pair the claimed task, or undefined when nothing changed,
 * because the attempt was claimed elsewhere or is no longer due.
 *
 * A worker's limited resources (runs of a type with a `concurrency`, processes, slots for suspects) are bounded here,
 * where the attempt starts, whichever queue it came from: a pair that needs a slot which the caller does not hold is
 * not claimed, and the answer says what it needs.
 *
 * A gated task starts only when its delivery was released (`store/release/`). Otherwise it is not claimed, and its
 * delivery waits in its lane from then on. So whoever dispatched it need not know what may hold it.
 */
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Database } from '../../db/database.js'
import { asStatus, inStatuses } from '../../db/status-sql.js'
import { STARTABLE_STATUSES, type Status } from '../../protocol/status.js'
import type { TaskId } from '../../protocol/task.js'
import { appendArrivals, isGated, isPaused, laneOf } from '../release/gates.js'
import { TASK_COLUMNS_BESIDE_STATE, type TaskRow } from '../rows.js'
import { deleteDeliveries, moveTasks } from '../transition.js'

export interface AttemptRef {
  taskId: TaskId
  attempt: number
}

/** An attempt to start, and the slots held for it. */
export interface ClaimRequest extends AttemptRef {
  /** Names of types, and `SUSPECT_SLOT`. */
  slots?: readonly string[]
}

/**
 * Needed by the next attempt of a task whose worker was lost: it runs where it can harm no other. No type has this
 * name.
 */
export const SUSPECT_SLOT = '*'

/** Not claimed, for lack of a slot. Nothing changed. */
export interface HeldAttempt {
  /** The type of the task. */
  heldType: string
  isSuspect: boolean
}

/** Not claimed: it waits for its release. */
export interface GatedAttempt {
  isGated: true
}

export interface ClaimedAttempt extends TaskRow {
  tenant: string
  /** Number of earlier attempts that failed. */
  failures: number
  fromStatus: Status
  at: Date
  /** How many earlier attempts were lost with their worker or process. This task may be the cause. */
  timesLost: number
  /** How many of those were lost with a process of their own that others had used before. */
  timesProcessLost: number
  /** Whether it was released from a lane. Its end makes room for another. */
  gate: 'open' | 'released'
  isGated?: false
}

/** The error name of an attempt whose process ended without proof that the attempt was the cause. */
export const PROCESS_LOST = 'ProcessEndedError'

/** A count over the earlier attempts that were lost; a first attempt has none. */
const countLost = (name: string, condition = 'true') => `case when i.attempt = 1 then 0 else (
    select count(*)::integer
    from taskwire.attempts a
    where a.task_id = any(array[i.id]) and a.outcome = 'lost' and ${condition}
  ) end as ${name}`

/** Whether the task may start: `open`, `released`, or `closed`. A pause also holds what was released before it.
 * The delivery is locked, so that it is read as it is after an edit for which the claim waited. */
const GATE = `case when ${isGated('t')} then coalesce((
    select case when d.is_released and not ${isPaused('t')} then 'released' end
    from taskwire.deliveries d
    where d.task_id = any(array[i.id])
    for update
  ), 'closed') else 'open' end`

const CLAIM_ATTEMPTS = moveTasks({
  name: 'claim_attempts',
  input: [
    // Of several attempts of one task only the last counts: the earlier ones are late.
    `input as (
  select distinct on (r."taskId") r."taskId" as id, r.attempt, coalesce(r.slots, '{}') as slots
  from json_to_recordset($1::text::json) as r("taskId" uuid, attempt integer, slots text[])
  order by r."taskId", r.attempt desc
)`,
  ],
  current: {
    status: asStatus('PROCESSING'),
    columns: [
      't.type',
      't.tenant',
      't.queue',
      't.priority',
      't.concurrency_key',
      't.sequence_key',
      'i.attempt',
      'i.slots',
      `${GATE} as gate`,
      countLost('times_lost'),
      countLost('times_process_lost', `a.error->>'name' = '${PROCESS_LOST}'`),
    ],
    from: '(select * from input order by id) i',
    id: 'i.id',
    where: `t.attempt = any(array[i.attempt - 1]) and t.status ${inStatuses(STARTABLE_STATUSES)} and (t.expires_at is null or t.expires_at > now())`,
  },
  when: `c.gate <> 'closed' and (c.type <> all($4::text::text[]) or c.type = any(c.slots)) and (c.times_lost = 0 or '*' <> all($4::text::text[]) or '*' = any(c.slots))`,
  set: ['attempt = c.attempt', 'progress = null', 'run_at = null', 'started_at = coalesce(t.started_at, now())'],
  returning: [TASK_COLUMNS_BESIDE_STATE, 't.failures', 'c.gate'],
  follow: [
    `lease as (
  insert into taskwire.leases (task_id, attempt, tenant, worker, lease_until, has_holds)
  select id, attempt, tenant, $2, now() + $3::double precision * interval '1 ms', gate = 'released'
  from moved
)`,
    deleteDeliveries('d.attempt = any(array[m.attempt])'),
    `returned as (
  update taskwire.deliveries d
  set lane_id = ${laneOf('c', 'c.from_status')}, ready_at = coalesce(d.ready_at, now()), due_at = 'infinity', is_released = false
  from current c
  where c.gate = 'closed' and d.task_id = any(array[c.id]) and (d.lane_id is null or d.is_released)
  returning c.*
)`,
    appendArrivals('returned s', { status: 's.from_status' }),
  ],
  answer: `select c.id as "startableId", c.type as "startableType", c.times_lost as "timesLost", c.times_process_lost as "timesProcessLost", m.*, m.from_status as "fromStatus",
  c.gate = 'closed' as "isGated"
from current c left join moved m on m.id = c.id`,
})

type ClaimRow = { startableId: TaskId; startableType: string; timesLost: number; isGated: boolean } & (
  ClaimedAttempt | { id: null }
)

/**
 * Claims attempts that are due, as far as the caller holds the slots they need.
 * @param scarce the kinds for which an attempt needs a slot: types, and `SUSPECT_SLOT` when suspects do
 */
export async function claimAttemptsInSlots(
  db: Database,
  requests: readonly ClaimRequest[],
  worker: string,
  leaseMs: number,
  scarce: readonly string[],
): Promise<(ClaimedAttempt | HeldAttempt | GatedAttempt | undefined)[]> {
  const rows = await db.run<ClaimRow>(CLAIM_ATTEMPTS, [
    JSON.stringify(requests),
    worker,
    leaseMs,
    toArrayLiteral(scarce),
  ])
  const byId = new Map(rows.map((row) => [row.startableId, row]))
  return requests.map(({ taskId, attempt }) => {
    const row = byId.get(taskId)
    if (row === undefined) return undefined
    if (row.isGated) return { isGated: true }
    if (row.id === null) return { heldType: row.startableType, isSuspect: row.timesLost > 0 }
    if (row.attempt !== attempt) return undefined
    // When a batch has the same pair twice, only one of the two gets it.
    byId.delete(taskId)
    return row
  })
}

/** Claims without regard to slots. */
export async function claimAttemptsIfDue(
  db: Database,
  refs: readonly AttemptRef[],
  worker: string,
  leaseMs: number,
): Promise<(ClaimedAttempt | undefined)[]> {
  return (await claimAttemptsInSlots(db, refs, worker, leaseMs, [])) as (ClaimedAttempt | undefined)[]
}
