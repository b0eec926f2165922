/** Reads of tasks, their history and their versions. */
import type { Principal } from '../../access/principal.js'
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Database, Statement } from '../../db/database.js'
import type { Attempt } from '../../protocol/http.js'
import type { TransitionMessage } from '../../protocol/stream.js'
import type { Task, TaskId, TaskSummary, Transition } from '../../protocol/task.js'
import {
  MAX_PAGE_BYTES,
  SUMMARY_COLUMNS,
  TASK_COLUMNS,
  toSummary,
  toTask,
  toTransitionMessage,
  type SummaryRow,
  type TaskRow,
  type TransitionRow,
} from '../rows.js'
import { toEditedFields } from '../stored-values.js'

// The planner cannot estimate the number of ids from their text, so one plan serves any number: half the work of
// reading one task.
const readByIds = (name: string, columns: string): Statement => ({
  name,
  text: `
select ${columns} from json_array_elements_text($1::text::json) as i(id)
join taskwire.tasks t on t.id = any(array[i.id::uuid]) where t.tenant = $2`,
})
const READ_TASKS = readByIds('read_tasks', TASK_COLUMNS)
const READ_SUMMARIES = readByIds('read_summaries', SUMMARY_COLUMNS)

/** The tasks with these ids, in no order. Ids that do not exist, or belong to another tenant, are left out. */
export async function readTasks({ tenant }: Principal, db: Database, ids: readonly TaskId[]): Promise<Task[]> {
  const rows = await db.run<TaskRow>(READ_TASKS, [JSON.stringify([...new Set(ids)]), tenant])
  return rows.map(toTask)
}

/** The same without payloads and results, which may be large together. */
export async function readSummaries(
  { tenant }: Principal,
  db: Database,
  ids: readonly TaskId[],
): Promise<TaskSummary[]> {
  const rows = await db.run<SummaryRow>(READ_SUMMARIES, [JSON.stringify([...new Set(ids)]), tenant])
  return rows.map(toSummary)
}

/** Limit for payload and result together in a task that is read for a stream, in bytes of text. */
const MAX_WATCHED_BYTES = 4096
const isLarge = (column: string) =>
  `(pg_column_size(t.${column}) > ${MAX_WATCHED_BYTES} or octet_length(t.${column}::text) > ${MAX_WATCHED_BYTES})`

const READ_WATCHED_TASKS: Statement = {
  name: 'read_watched_tasks',
  // A stored size above the limit decides without unpacking the value.
  text: `
select ${SUMMARY_COLUMNS}, case when not "isLarge" then t.payload end as payload, case when not "isLarge" then t.result end as result, "isLarge"
from json_array_elements_text($1::text::json) as i(id)
join taskwire.tasks t on t.id = any(array[i.id::uuid])
cross join lateral (select coalesce(${isLarge('payload')}, false) or coalesce(${isLarge('result')}, false) as "isLarge") size
where t.tenant = $2`,
}

/** The tasks with these ids, in no order, as read for streams: large ones without payload and result. */
export async function readWatchedTasks(
  { tenant }: Principal,
  db: Database,
  ids: readonly TaskId[],
): Promise<(Task & { isLarge: boolean })[]> {
  const rows = await db.run<TaskRow & { isLarge: boolean }>(READ_WATCHED_TASKS, [
    JSON.stringify([...new Set(ids)]),
    tenant,
  ])
  return rows.map((row) => ({ ...toTask(row), isLarge: row.isLarge }))
}

const READ_VERSIONS: Statement = {
  name: 'read_versions',
  text: `select t.id, t.tenant, t.version from taskwire.tasks t where t.id = any($1::text::uuid[])`,
}

/** The version and tenant of each of these tasks. One query covers all that a process watches; it compares the tenants. */
export function readVersions(
  db: Database,
  ids: readonly TaskId[],
): Promise<{ id: TaskId; tenant: string; version: number }[]> {
  return db.run(READ_VERSIONS, [toArrayLiteral(ids)])
}

const READ_TRANSITIONS: Statement = {
  name: 'read_transitions',
  // The result and failure of a task belong to its last transition, because a final status never changes. An edit
  // includes only values that no later edit has replaced, so each value is read once, however often a task was edited.
  text: `
with latest as (
  select field, max(e.version) as version from taskwire.transitions e, unnest(e.edited) field where e.task_id = any(array[$1::text::uuid]) group by field
)
select r.task_id as "taskId", r.version, r.from_status as "fromStatus", r.status, r.attempt, r.at, r.reason,
  case when t.version = r.version or 'runAt' = any(s.standing) then t.run_at end as "runAt",
  case when t.version = r.version then t.result end as result, case when t.version = r.version then t.failure end as failure,
  to_json(r.edited) as edited, to_json(s.standing) as standing, case when 'payload' = any(s.standing) then t.payload end as payload,
  case when 'title' = any(s.standing) then t.title end as title, case when 'tags' = any(s.standing) then to_json(t.tags) end as tags,
  case when 'priority' = any(s.standing) then t.priority end as priority, case when 'expiresAt' = any(s.standing) then t.expires_at end as "expiresAt"
from taskwire.transitions r join taskwire.tasks t on t.id = r.task_id
cross join lateral (
  select case when r.edited is not null then array(
    select l.field from latest l where l.version = r.version and (l.field <> 'runAt' or t.status = 'SCHEDULED')) end as standing offset 0
) s
where r.task_id = $1::text::uuid and r.version > $2::integer and t.tenant = $3 order by r.version limit $4::integer`,
}

/** The messages of the transitions after version `since`, oldest first, at most `limit`. */
export async function readTransitionMessages(
  { tenant }: Principal,
  db: Database,
  id: TaskId,
  since: number,
  limit: number,
): Promise<TransitionMessage[]> {
  const rows = await db.run<TransitionRow>(READ_TRANSITIONS, [id, since, tenant, limit])
  return rows.map(toTransitionMessage)
}

const READ_HISTORY: Statement = {
  name: 'read_history',
  text: `
select "taskId", version, "fromStatus", status, attempt, at, reason, edited, head from (
  select r.task_id as "taskId", r.version, r.from_status as "fromStatus", r.status, r.attempt, r.at, r.reason, to_json(r.edited) as edited, t.version as head,
    sum(200 + coalesce(octet_length(r.reason), 0)) over (order by r.version) as bytes
  from taskwire.transitions r join taskwire.tasks t on t.id = any(array[r.task_id])
  where r.task_id = $1::text::uuid and r.version > $2::integer and t.tenant = $3
) page where bytes <= $4::integer order by version`,
}

/**
 * The stored history after version `since`, oldest first, as much as fits into a page. `next` is the next page's
 * `since`, or null.
 */
export async function readHistory(
  { tenant }: Principal,
  db: Database,
  id: TaskId,
  since: number,
): Promise<{ items: Transition[]; next: number | null }> {
  const rows = await db.run<TransitionRow & { head: number }>(READ_HISTORY, [id, since, tenant, MAX_PAGE_BYTES])
  const last = rows.at(-1)
  return { items: rows.map(toTransition), next: last && last.version < last.head ? last.version : null }
}

/** The stored history, oldest first, at most 10,000 transitions; empty when there is no such task. */
export async function readTransitions({ tenant }: Principal, db: Database, id: TaskId): Promise<Transition[]> {
  const rows = await db.run<TransitionRow>(READ_TRANSITIONS, [id, 0, tenant, 10_000])
  return rows.map(toTransition)
}

/** A position in the combined history of several tasks. */
export interface HistoryPosition {
  /** ISO 8601. */
  at: string
  taskId: TaskId
  version: number
}

const READ_HISTORY_OF_TASKS: Statement = {
  name: 'read_history_of_tasks',
  text: `
select "taskId", version, "fromStatus", status, attempt, at, reason, edited, "isLast" from (
  select r.task_id as "taskId", r.version, r.from_status as "fromStatus", r.status, r.attempt, r.at, r.reason, to_json(r.edited) as edited,
    sum(250 + coalesce(octet_length(r.reason), 0)) over (order by r.at, r.task_id, r.version) as bytes,
    lead(false, 1, true) over (order by r.at, r.task_id, r.version) as "isLast"
  from taskwire.transitions r
  where r.task_id = any($1::text::uuid[]) and r.tenant = $2
    and (r.at, r.task_id, r.version) > (coalesce($3::text::timestamptz, '-infinity'), coalesce($4::text, '00000000-0000-0000-0000-000000000000')::uuid, $5::integer)
) page where bytes <= $6::integer order by at, "taskId", version`,
}

/**
 * The combined histories of these tasks, oldest first, as much as fits into a page. `next` is the start of the next
 * page, or null.
 */
export async function readHistoryOfTasks(
  { tenant }: Principal,
  db: Database,
  ids: readonly TaskId[],
  after?: HistoryPosition,
): Promise<{ items: ({ taskId: TaskId } & Transition)[]; next: HistoryPosition | null }> {
  const parameters = [
    toArrayLiteral(ids),
    tenant,
    after?.at ?? null,
    after?.taskId ?? null,
    after?.version ?? 0,
    MAX_PAGE_BYTES,
  ]
  const rows = await db.run<TransitionRow & { isLast: boolean }>(READ_HISTORY_OF_TASKS, parameters)
  const items = rows.map((row) => ({ taskId: row.taskId, ...toTransition(row) }))
  const last = rows.at(-1)?.isLast === false ? items.at(-1) : undefined
  return { items, next: last === undefined ? null : { at: last.at, taskId: last.taskId, version: last.version } }
}

function toTransition({ version, fromStatus, status, attempt, at, reason, edited }: TransitionRow): Transition {
  return {
    version,
    from: fromStatus,
    status,
    attempt,
    at: at.toISOString(),
    reason,
    ...(edited && { edited: toEditedFields(edited) }),
  }
}

const READ_ATTEMPTS: Statement = {
  name: 'read_attempts',
  // The stack, which may be long, is not read.
  text: `
with runs as (
  select a.attempt, a.worker, a.started_at as "startedAt", a.finished_at as "finishedAt", a.outcome,
    case when a.error is not null then jsonb_build_object('name', a.error->'name', 'message', a.error->'message') end as error
  from taskwire.attempts a where a.task_id = any(array[$1::text::uuid]) and a.tenant = $2 and a.attempt > $3::integer
  union all
  select l.attempt, l.worker, l.started_at, null, 'running', null
  from taskwire.leases l where l.task_id = any(array[$1::text::uuid]) and l.tenant = $2 and l.attempt > $3::integer
)
select * from (
  select *, max(attempt) over () as head, sum(300 + coalesce(octet_length(error->>'message'), 0)) over (order by attempt) as bytes from runs
) page where bytes <= $4::integer order by attempt`,
}

interface AttemptRow extends Omit<Attempt, 'startedAt' | 'finishedAt'> {
  startedAt: Date
  finishedAt: Date | null
  head: number
}

/**
 * The attempts of a task after attempt `after`, oldest first, as many as fit into a page. The last one may be running.
 * Stacks stay on the server.
 */
export async function readAttemptPage(
  { tenant }: Principal,
  db: Database,
  id: TaskId,
  after: number,
): Promise<{ items: Attempt[]; next: number | null }> {
  const rows = await db.run<AttemptRow>(READ_ATTEMPTS, [id, tenant, after, MAX_PAGE_BYTES])
  const items = rows.map(({ attempt, worker, startedAt, finishedAt, outcome, error }) => ({
    attempt,
    worker,
    outcome,
    error,
    startedAt: startedAt.toISOString(),
    finishedAt: finishedAt?.toISOString() ?? null,
  }))
  const last = rows.at(-1)
  return { items, next: last && last.attempt < last.head ? last.attempt : null }
}

/** The first attempts of a task, as many as fit into a page. */
export async function readAttempts(principal: Principal, db: Database, id: TaskId): Promise<Attempt[]> {
  return (await readAttemptPage(principal, db, id, 0)).items
}
