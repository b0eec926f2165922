/**
 * Starts attempts, for those who may still start them: the fence against every late, repeated or forged delivery.
 *
 * In: (task, attempt) pairs and the worker's name. A pair is claimed when the task stands at PENDING or RETRYING and its
 * last attempt is the one before, and has not expired; then the task moves to PROCESSING, the transition and the lease are written and the
 * delivery is deleted. Out: per pair the claimed task, or undefined: nothing changed, somebody else has it or had it.
 *
 * Here and in every statement that changes tasks, rows are locked in the order of ids, so that two batches that overlap
 * wait instead of deadlocking. And they are found by `id = any(array[…])` where `id = …` would mean the same: only a
 * lookup in the index can serve that, row by row, however small the tables were when the plan was made.
 */
import type { Database, Statement } from '../../db/database.js'
import type { Status } from '../../protocol/status.js'
import type { TaskId } from '../../protocol/task.js'
import { TASK_COLUMNS, type TaskRow } from './rows.js'

export interface AttemptRef {
  taskId: TaskId
  attempt: number
}

export interface ClaimedAttempt extends TaskRow {
  tenant: string
  /** Of earlier attempts. */
  failures: number
  fromStatus: Status
  at: Date
}

const CLAIM_ATTEMPTS: Statement = {
  name: 'claim_attempts',
  // Of several attempts of one task the last: those before it are late.
  text: `
with input as (
  select distinct on (r."taskId") r."taskId" as id, r.attempt
  from json_to_recordset($1::text::json) as r("taskId" uuid, attempt integer) order by r."taskId", r.attempt desc
), current as (
  select t.id, t.status as from_status, i.attempt
  from input i join taskwire.tasks t on t.id = any(array[i.id])
  where t.attempt = i.attempt - 1 and t.status in ('PENDING', 'RETRYING') and (t.expires_at is null or t.expires_at > now())
  order by i.id for update of t
), claimed as (
  update taskwire.tasks t
  set status = 'PROCESSING', version = t.version + 1, attempt = c.attempt, progress = null, run_at = null,
    started_at = coalesce(t.started_at, now())
  from current c where t.id = any(array[c.id])
  returning ${TASK_COLUMNS}, t.tenant, t.failures, c.from_status as "fromStatus", now()::timestamptz(3) as at
), runs as (
  insert into taskwire.leases (task_id, attempt, tenant, worker, lease_until)
  select id, attempt, tenant, $2, now() + $3::double precision * interval '1 ms' from claimed
), history as (
  insert into taskwire.transitions (task_id, version, tenant, from_status, status, attempt, at)
  select id, version, tenant, "fromStatus", status, attempt, at from claimed
), outbox as (
  delete from taskwire.deliveries d using claimed c where d.task_id = any(array[c.id]) and d.attempt = c.attempt
)
select * from claimed`,
}

export async function claimAttemptsIfDue(
  db: Database,
  refs: readonly AttemptRef[],
  worker: string,
  leaseMs: number,
): Promise<(ClaimedAttempt | undefined)[]> {
  const rows = await db.run<ClaimedAttempt>(CLAIM_ATTEMPTS, [JSON.stringify(refs), worker, leaseMs])
  const byId = new Map(rows.map((row) => [row.id, row]))
  return refs.map(({ taskId, attempt }) => {
    const row = byId.get(taskId)
    if (row?.attempt !== attempt) return undefined
    // The same pair twice in one batch: one of the two has it.
    byId.delete(taskId)
    return row
  })
}
