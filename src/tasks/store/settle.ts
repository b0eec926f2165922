/**
 * Ends attempts: turns the lease into the record of the attempt, moves the task on and writes what must follow.
 *
 * In: per attempt the status that follows and why. An attempt is settled when it is still the task's current one and the
 * task is PROCESSING; a late or repeated writer gets undefined: nothing changed. PENDING as the status that follows
 * means "put it back": the delivery of the next attempt is written, due at once. Out: per attempt the transition, to be
 * published by the caller after the commit.
 */
import type { AttemptError, AttemptOutcome } from '../../db/schema.js'
import { sql } from 'drizzle-orm'
import type { Database, Orm, Statement } from '../../db/database.js'
import type { TransitionMessage } from '../../protocol/stream.js'
import type { Failure } from '../../protocol/task.js'
import type { AttemptRef } from './claim.js'
import { toTransitionMessage, type TransitionRow } from './rows.js'

export interface Settlement extends AttemptRef {
  outcome: AttemptOutcome
  /** The status that follows. */
  status: 'COMPLETED' | 'FAILED' | 'PENDING'
  reason: string | null
  result?: unknown
  failure?: Failure
  error?: AttemptError
}

const SETTLE_ATTEMPTS: Statement = {
  name: 'settle_attempts',
  text: `
with input as (
  select distinct on (r."taskId") r."taskId" as id, r.attempt, r.outcome, r.status, r.reason, r.result, r.failure, r.error
  from json_to_recordset($1::text::json) as r("taskId" uuid, attempt integer, outcome text,
    status taskwire.task_status, reason text, result jsonb, failure jsonb, error jsonb)
), current as (
  select i.*, t.status as from_status
  from input i join taskwire.tasks t on t.id = any(array[i.id])
  where t.attempt = i.attempt and t.status = 'PROCESSING'
  order by i.id for update of t
), settled as (
  update taskwire.tasks t
  set status = c.status, version = t.version + 1, result = c.result, failure = c.failure,
    finished_at = case when c.status <> 'PENDING' then now() end
  from current c where t.id = any(array[c.id])
  returning t.id, t.tenant, t.priority, t.version, t.status, t.attempt, c.from_status, c.reason, c.outcome, c.error, t.result,
    t.failure, now()::timestamptz(3) as at
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
  insert into taskwire.deliveries (task_id, attempt, tenant, priority, due_at)
  select id, attempt + 1, tenant, priority, at from settled where status = 'PENDING'
)
select id as "taskId", version, from_status as "fromStatus", status, attempt, at, reason, result, failure from settled`,
}

/**
 * Settles one attempt inside somebody's transaction. Undefined: the attempt is no longer current, and the transaction must
 * not commit. Otherwise the version that the task has when it does.
 */
export async function settleInTransaction(transaction: Orm, settlement: Settlement): Promise<number | undefined> {
  const [before = '', after = ''] = SETTLE_ATTEMPTS.text.split('$1')
  const statement = sql`${sql.raw(before)}${JSON.stringify([settlement])}${sql.raw(after)}`
  const { rows } = (await transaction.execute(statement)) as unknown as { rows: Pick<TransitionRow, 'version'>[] }
  return rows[0]?.version
}

export async function settleAttemptsIfCurrent(
  db: Database,
  settlements: readonly Settlement[],
): Promise<(TransitionMessage | undefined)[]> {
  const rows = await db.run<TransitionRow>(SETTLE_ATTEMPTS, [JSON.stringify(settlements)])
  const byId = new Map(rows.map((row) => [row.taskId, row]))
  return settlements.map(({ taskId, attempt }) => {
    const row = byId.get(taskId)
    if (row?.attempt !== attempt) return undefined
    byId.delete(taskId)
    return toTransitionMessage(row)
  })
}
