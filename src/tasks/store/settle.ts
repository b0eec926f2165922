/**
 * Ends attempts: turns the lease into the record of the attempt, moves the task on and writes what must follow.
 *
 * In: per attempt the status that follows and why. An attempt is settled when it is still the task's current one and the
 * task is PROCESSING or CANCELLING; a late or repeated writer gets undefined: nothing changed. PENDING as the status that
 * follows means "put it back": the delivery of the next attempt is written, due at once; RETRYING the same, due later. A
 * task that is CANCELLING can only become COMPLETED, if its handler was faster, or CANCELLED. Out: per attempt the
 * transition, to be published by the caller after the commit.
 */
import type { AttemptError, AttemptOutcome } from '../../db/schema.js'
import { runIn } from '../../db/bind.js'
import type { Database, Orm, Statement } from '../../db/database.js'
import type { Event } from '../../protocol/stream.js'
import type { Failure } from '../../protocol/task.js'
import type { AttemptRef } from './claim.js'
import { FACTS, toEvent, type TransitionRow } from './rows.js'

export interface Settlement extends AttemptRef {
  outcome: AttemptOutcome
  /** The status that follows. */
  status: 'COMPLETED' | 'FAILED' | 'PENDING' | 'RETRYING' | 'CANCELLED'
  /** With RETRYING: when the next attempt is due, in milliseconds from now. */
  retryInMs?: number
  reason: string | null
  result?: unknown
  failure?: Failure
  error?: AttemptError
}

const SETTLE_ATTEMPTS: Statement = {
  name: 'settle_attempts',
  // Of several attempts of one task the last: those before it are late.
  text: `
with input as (
  select distinct on (r."taskId") r."taskId" as id, r.attempt, r.outcome, r.status, r.reason, r.result, r.failure, r.error, r."retryInMs" as retry_in_ms
  from json_to_recordset($1::text::json) as r("taskId" uuid, attempt integer, outcome text,
    status taskwire.task_status, reason text, result jsonb, failure jsonb, error jsonb, "retryInMs" double precision)
  order by r."taskId", r.attempt desc
), current as (
  select i.id, i.attempt, case when t.status = 'CANCELLING' and i.status not in ('COMPLETED', 'CANCELLED') then null else i.reason end as reason, i.result, i.outcome, i.error, i.retry_in_ms, t.status as from_status,
    case when t.status = 'CANCELLING' and i.status <> 'COMPLETED' then 'CANCELLED' else i.status end as status, i.failure
  from input i join taskwire.tasks t on t.id = any(array[i.id])
  where t.attempt = i.attempt and t.status in ('PROCESSING', 'CANCELLING')
  order by i.id for update of t
), settled as (
  update taskwire.tasks t
  set status = c.status, version = t.version + 1, result = c.result,
    failure = case when c.status = 'FAILED' then c.failure end,
    failures = t.failures + (c.outcome = 'failed')::integer::smallint,
    run_at = case when c.status = 'RETRYING' then now() + c.retry_in_ms * interval '1 ms' end,
    finished_at = case when c.status not in ('PENDING', 'RETRYING') then now() end
  from current c where t.id = any(array[c.id])
  returning t.id, t.tenant, t.queue, t.priority, t.version, t.status, t.attempt, c.from_status, c.reason, c.outcome, c.error, t.result,
    t.failure, t.run_at, t.expires_at, now()::timestamptz(3) as at, ${FACTS}
), ended as (
  delete from taskwire.leases l using settled s where l.task_id = any(array[s.id]) and l.attempt = s.attempt
  returning s.id, s.attempt, s.tenant, l.worker, l.started_at, s.at, s.outcome, s.error
), runs as (
  insert into taskwire.attempts (task_id, attempt, tenant, worker, started_at, finished_at, outcome, error)
  select id, attempt, tenant, worker, started_at, at, outcome, error from ended
), history as (
  insert into taskwire.transitions (task_id, version, tenant, from_status, status, attempt, at, reason)
  select id, version, tenant, from_status, status, attempt, at, reason from settled
), outbox as (
  insert into taskwire.deliveries (task_id, attempt, tenant, queue, priority, due_at, expires_at)
  select id, attempt + 1, tenant, queue, priority, coalesce(run_at, at), expires_at from settled where status in ('PENDING', 'RETRYING')
)
select id as "taskId", version, from_status as "fromStatus", status, attempt, at, reason, run_at as "runAt", result, failure, facts from settled`,
}

/**
 * Settles one attempt inside somebody's transaction. Undefined: the attempt is no longer current, and the transaction must
 * not commit. Otherwise the version that the task has when it does.
 */
export async function settleInTransaction(transaction: Orm, settlement: Settlement): Promise<number | undefined> {
  const [row] = await runIn<TransitionRow>(transaction, SETTLE_ATTEMPTS, [JSON.stringify([settlement])])
  return row?.version
}

export async function settleAttemptsIfCurrent(
  db: Database,
  settlements: readonly Settlement[],
): Promise<(Event | undefined)[]> {
  const rows = await db.run<TransitionRow>(SETTLE_ATTEMPTS, [JSON.stringify(settlements)])
  const byId = new Map(rows.map((row) => [row.taskId, row]))
  return settlements.map(({ taskId, attempt }) => {
    const row = byId.get(taskId)
    if (row?.attempt !== attempt) return undefined
    byId.delete(taskId)
    return toEvent(row)
  })
}
