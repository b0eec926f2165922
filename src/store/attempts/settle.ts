/**
 * Settles attempts: turns the lease into a record of the attempt, moves the task on and writes what follows.
 *
 * In: per attempt the next status and the reason. An attempt is settled while it is the task's current one and the task
 * is PROCESSING or CANCELLING. A late or repeated writer gets undefined, and nothing changes. PENDING as the next
 * status puts the task back: the delivery of its next attempt is written, due at once; RETRYING does the same, due
 * later. A task that is CANCELLING can only become COMPLETED, if its handler finished first, or CANCELLED. Out: per
 * attempt the transition, which the caller publishes after the commit.
 */
import type { Database, Transaction } from '../../db/database.js'
import type { AttemptError, AttemptOutcome } from '../../db/attempts-schema.js'
import { asStatus, inStatuses } from '../../db/status-sql.js'
import { RUNNING_STATUSES, STARTABLE_STATUSES } from '../../protocol/status.js'
import type { Event } from '../../protocol/stream.js'
import type { Failure } from '../../protocol/task.js'
import { FACTS, toEvent, type TransitionRow } from '../rows.js'
import { moveTasks, TRANSITION_COLUMNS, writeDeliveries } from '../transition.js'
import type { AttemptRef } from './claim.js'

export interface Settlement extends AttemptRef {
  outcome: AttemptOutcome
  /** The next status. */
  status: 'COMPLETED' | 'FAILED' | 'PENDING' | 'RETRYING' | 'CANCELLED'
  /** With RETRYING: when the next attempt is due, in milliseconds from now. */
  retryInMs?: number
  reason: string | null
  result?: unknown
  failure?: Failure
  error?: AttemptError
}

const SETTLE_ATTEMPTS = moveTasks({
  name: 'settle_attempts',
  input: [
    // Of several attempts of one task only the last counts: the earlier ones are late.
    `input as (
  select distinct on (r."taskId") r."taskId" as id, r.attempt, r.outcome, r.status, r.reason, r.result, r.failure, r.error, r."retryInMs" as retry_in_ms
  from json_to_recordset($1::text::json) as r("taskId" uuid, attempt integer, outcome text, status taskwire.task_status, reason text,
    result jsonb, failure jsonb, error jsonb, "retryInMs" double precision)
  order by r."taskId", r.attempt desc
)`,
  ],
  current: {
    status: `case when t.status = 'CANCELLING' and i.status <> 'COMPLETED' then ${asStatus('CANCELLED')} else i.status end`,
    reason: `case when t.status = 'CANCELLING' and i.status not in ('COMPLETED', 'CANCELLED') then null else i.reason end`,
    columns: ['i.result', 'i.failure', 'i.outcome', 'i.error', 'i.retry_in_ms'],
    from: '(select * from input order by id) i',
    id: 'i.id',
    where: `t.attempt = any(array[i.attempt]) and t.status ${inStatuses(RUNNING_STATUSES)}`,
  },
  set: [
    'result = c.result',
    `failure = case when c.status = 'FAILED' then c.failure end`,
    `failures = t.failures + (c.outcome = 'failed')::integer::smallint`,
    `run_at = case when c.status = 'RETRYING' then now() + c.retry_in_ms * interval '1 ms' end`,
    `finished_at = case when c.status not in ('PENDING', 'RETRYING') then now() end`,
  ],
  returning: [
    't.queue',
    't.priority',
    't.run_at',
    't.expires_at',
    'c.outcome',
    'c.error',
    't.result',
    't.failure',
    FACTS,
  ],
  follow: [
    `lease as (
  delete from taskwire.leases l
  using moved m
  where l.task_id = any(array[m.id]) and l.attempt = any(array[m.attempt])
  returning m.id, m.attempt, m.tenant, l.worker, l.started_at, m.at, m.outcome, m.error
)`,
    `record as (
  insert into taskwire.attempts (task_id, attempt, tenant, worker, started_at, finished_at, outcome, error)
  select id, attempt, tenant, worker, started_at, at, outcome, error
  from lease
)`,
    writeDeliveries('moved m', {
      attempt: 'm.attempt + 1',
      dueAt: 'coalesce(m.run_at, m.at)',
      where: `m.status ${inStatuses(STARTABLE_STATUSES)}`,
    }),
  ],
  answer: `select ${TRANSITION_COLUMNS}, m.run_at as "runAt", m.result, m.failure, m.facts
from moved m`,
})

/**
 * Settles one attempt inside the caller's transaction and returns the transition, to publish after the commit.
 * Undefined: the attempt is no longer current, and the transaction must not commit.
 */
export async function settleInTransaction(
  transaction: Transaction,
  settlement: Settlement,
): Promise<Event | undefined> {
  const [row] = await transaction.run<TransitionRow>(SETTLE_ATTEMPTS, [JSON.stringify([settlement])])
  return row && toEvent(row)
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
