/**
 * Writes new tasks: for each the row, its first transition and its delivery, in one durable statement.
 *
 * In: tasks with ids made by the caller. Out: per task what the database decided, in the order given. A task with a
 * start in the future is SCHEDULED, and its delivery is due then. Any other is PENDING, and the relay dispatches its
 * delivery if it was not claimed within `claimWindowMs`. Emits nothing: no client can follow an id before it was
 * returned.
 *
 * A create with a key writes the key in the same statement. A second create with the same key, even a concurrent one,
 * waits for the first at the key's row and finds its task.
 */
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Database, Statement } from '../../db/database.js'
import { asStatus } from '../../db/status-sql.js'
import type { Status } from '../../protocol/status.js'
import type { Task, TaskId } from '../../protocol/task.js'
import { appendArrivals, laneOf } from '../release/gates.js'
import { TASK_COLUMNS, toTask, type TaskRow } from '../rows.js'
import { withClauses, writeDeliveries, writeHistory } from '../transition.js'
import type { Debounce } from './debounce.js'

export interface NewTask {
  id: TaskId
  tenant: string
  type: string
  title: string
  priority: number
  tags: readonly string[]
  payload: unknown
  /** Not before this time (ISO 8601), or null. */
  runAt: string | null
  /** Not before this many milliseconds from now, or null. */
  delayMs: number | null
  queue: string
  maxAttempts: number
  /**
   * Whether the caller dispatches the task to the broker itself. Default true; false: the relay dispatches it at once.
   */
  isHandedOver?: boolean
  /**
   * Whether something may hold it (see `store/release/gates.ts`): then it waits in a lane. Default: whether it has a
   * concurrency key or a sequence key.
   */
  isGated?: boolean
  /** For `createUniqueTasks` only. */
  debounce?: Debounce | undefined
  /** Rarely used fields; undefined when the task has none of them. */
  more?: TaskExtras | undefined
}

export interface TaskExtras {
  /** ISO 8601. */
  expiresAt?: string | undefined
  uniqueKey?: string | undefined
  parentId?: TaskId | undefined
  batchId?: TaskId | undefined
  callbackUrl?: string | undefined
  concurrencyKey?: string | undefined
  sequenceKey?: string | undefined
  /** With a sequence key. Default `halt`. */
  onFailure?: 'halt' | 'skip' | undefined
  /** How much of a rate limit its start takes. Default 1. */
  cost?: number | undefined
}

export interface CreatedTask {
  id: TaskId
  status: Status
  runAt: Date | null
  createdAt: Date
}

/** The columns and keys that one kind of create has in addition; empty for the plain one. */
interface CreateParts {
  /** Columns of the input, as `, name type`, and their names. */
  columns: string
  names: string
  /** CTEs that follow the input. */
  keys: readonly string[]
  /** The tasks in it are written. */
  source: string
  answer: string
}

const PLAIN: CreateParts = { columns: '', names: '', keys: [], source: 'input', answer: '' }

/** With an idempotency key each. One batch may hold several creates with one key: the first takes it. An expired key is free again. */
const ONCE: CreateParts = {
  columns: ', key text, fingerprint text',
  names: ', key, fingerprint',
  keys: [
    `keyed as (
  insert into taskwire.idempotency_keys as k (tenant, key, fingerprint, task_id, run_at, expires_at)
  select distinct on (tenant, key) tenant, key, fingerprint, id, case when start_at > now() then start_at end,
    now() + $3::double precision * interval '1 ms'
  from input
  order by tenant, key, id
  on conflict (tenant, key) do update
    set fingerprint = excluded.fingerprint, task_id = excluded.task_id, run_at = excluded.run_at, expires_at = excluded.expires_at
    where k.expires_at <= now()
  returning task_id
)`,
    `accepted as (
  select i.*
  from input i join keyed on keyed.task_id = i.id
)`,
  ],
  source: 'accepted',
  answer: ', (select json_agg(id) from created) as "createdIds"',
}

/**
 * The tasks are passed as one JSON text. For the caller that is a third of the work of one parameter per column; for
 * PostgreSQL it is the same.
 * @param isGated whether one of the tasks may be gated. Plain creates do not pay for that
 */
function createStatement(
  name: string,
  { columns, names, keys, source, answer }: CreateParts,
  isGated: boolean,
): Statement {
  const gateNames = isGated ? ', concurrency_key, sequence_key, cost' : ''
  const lanes = isGated ? { laneId: `case when i.is_gated and m.run_at is null then ${laneOf('m')} end` } : {}
  const dueAt = `now() + case when i.is_handed_over then $1::double precision else 0 end * interval '1 ms'`
  return {
    name: isGated ? `${name}_gated` : name,
    text: withClauses(
      [
        `input as (
  select id, tenant, type, title, priority, tags, coalesce(payload, 'null') as payload, queue, "maxAttempts" as max_attempts, more,
    coalesce("isHandedOver", true) as is_handed_over, coalesce("runAt", now() + "delayMs" * interval '1 ms') as start_at${names}${
      isGated
        ? `, coalesce("isGated", more ?| array['concurrencyKey', 'sequenceKey'], false) as is_gated, more->>'concurrencyKey' as concurrency_key, more->>'sequenceKey' as sequence_key, (more->>'cost')::smallint as cost`
        : ''
    }
  from json_to_recordset($2::text::json) as r (id uuid, tenant text, type text, title text, priority smallint, tags text[], payload jsonb,
    "runAt" timestamptz, "delayMs" double precision, queue text, "maxAttempts" integer, more jsonb, "isHandedOver" boolean${columns}${
      isGated ? ', "isGated" boolean' : ''
    })
)`,
        ...keys,
        `created as (
  insert into taskwire.tasks (id, tenant, type, title, priority, tags, payload, queue, max_attempts, status, run_at,
    expires_at, unique_key, parent_id, batch_id, callback_url${gateNames})
  select id, tenant, type, title, priority, tags, payload, queue, max_attempts,
    case when start_at > now() then ${asStatus('SCHEDULED')} else ${asStatus('PENDING')} end,
    case when start_at > now() then start_at end,
    (more->>'expiresAt')::timestamptz, more->>'uniqueKey', (more->>'parentId')::uuid, (more->>'batchId')::uuid, more->>'callbackUrl'${gateNames}
  from ${source}
  returning id, tenant, queue, priority, version, null::taskwire.task_status as from_status, status, attempt, null::text as reason, run_at,
    expires_at, created_at as at${isGated ? ', type, concurrency_key, sequence_key' : ''}
)`,
        writeHistory('created'),
        writeDeliveries('created m join input i on i.id = m.id', {
          attempt: '1',
          dueAt: isGated
            ? `coalesce(m.run_at, case when i.is_gated then 'infinity' else ${dueAt} end)`
            : `coalesce(m.run_at, ${dueAt})`,
          ...lanes,
        }),
        ...(isGated
          ? [
              appendArrivals('created s join input i on i.id = s.id', 'i.is_gated and s.run_at is null'),
              JOIN_SEQUENCES,
              NOTE_TENANTS,
            ]
          : []),
      ],
      `select now()::timestamptz(3) as "createdAt",
  (select json_object_agg(id, run_at) from created where run_at is not null) as "startsById"${answer}`,
    ),
  }
}

/** In the order of their ids, which is that of their creation in this process. */
const JOIN_SEQUENCES = `sequence as (
  insert into taskwire.sequence_members (tenant, key, task_id, halts)
  select c.tenant, c.sequence_key, c.id, coalesce(i.more->>'onFailure', 'halt') = 'halt'
  from created c join input i on i.id = c.id
  where c.sequence_key is not null
  order by c.id
)`

/** A queue of several tenants is shared fairly: see `isGated`. */
const NOTE_TENANTS = `tenants as (
  insert into taskwire.queue_tenants (queue, tenant)
  select distinct queue, tenant
  from created
  order by queue, tenant
  on conflict do nothing
)`

const CREATE_TASKS = {
  plain: createStatement('create_tasks', PLAIN, false),
  gated: createStatement('create_tasks', PLAIN, true),
}
const CREATE_TASKS_ONCE = {
  plain: createStatement('create_tasks_once', ONCE, false),
  gated: createStatement('create_tasks_once', ONCE, true),
}

function select(statements: typeof CREATE_TASKS, tasks: readonly NewTask[]): Statement {
  return tasks.some(isOfGates) ? statements.gated : statements.plain
}

function isOfGates({ isGated, more }: NewTask): boolean {
  return (
    isGated !== undefined || [more?.concurrencyKey, more?.sequenceKey, more?.cost].some((value) => value !== undefined)
  )
}

/** The statement that writes these tasks. */
export function createTasksStatement(tasks: readonly NewTask[]): Statement {
  return select(CREATE_TASKS, tasks)
}

/** One row for all tasks: nearly every task is PENDING and created at the time of the statement. */
export interface CreateAnswer {
  createdAt: Date
  /** The start of each SCHEDULED task. */
  startsById: Record<TaskId, string> | null
}

/**
 * @param claimWindowMs how long workers have to claim a PENDING task before the relay dispatches it; 0 when the caller
 * does not dispatch it itself
 */
export async function createTasks(
  db: Database,
  tasks: readonly NewTask[],
  claimWindowMs: number,
): Promise<CreatedTask[]> {
  const [answer] = await db.run<CreateAnswer>(createTasksStatement(tasks), [claimWindowMs, JSON.stringify(tasks)])
  if (answer === undefined) throw new Error('the database did not answer')
  return tasks.map((task) => toCreatedTask(task, answer))
}

export function toCreatedTask({ id }: NewTask, { createdAt, startsById }: CreateAnswer): CreatedTask {
  const start = startsById?.[id]
  return start === undefined
    ? { id, status: 'PENDING', runAt: null, createdAt }
    : { id, status: 'SCHEDULED', runAt: new Date(start), createdAt }
}

export interface KeyedTask extends NewTask {
  /** The client's `Idempotency-Key`; it belongs to the tenant. */
  key: string
  /** Digest of the request body that came with it. */
  fingerprint: string
}

/**
 * `created`: by this call. `repeated`: by an earlier call with the same key and body; the task as it was returned then.
 * `mismatch`: the key was used with another body.
 */
export type OnceAnswer =
  { kind: 'created'; created: CreatedTask } | { kind: 'repeated'; task: Task } | { kind: 'mismatch' }

/** Like `createTasks`, once for each key. @param keyTtlMs how long the keys are kept */
export async function createTasksOnce(
  db: Database,
  tasks: readonly KeyedTask[],
  claimWindowMs: number,
  keyTtlMs: number,
): Promise<OnceAnswer[]> {
  const [answer] = await db.run<CreateAnswer & { createdIds: TaskId[] | null }>(select(CREATE_TASKS_ONCE, tasks), [
    claimWindowMs,
    JSON.stringify(tasks),
    keyTtlMs,
  ])
  if (answer === undefined) throw new Error('the database did not answer')
  const created = new Set(answer.createdIds)
  const others = tasks.filter(({ id }) => !created.has(id))
  // A separate statement, because the first does not see rows committed while it waited at the key.
  const first = others.length > 0 ? await readFirstTasks(db, others) : new Map<string, FirstTask>()
  return Promise.all(
    tasks.map(async (task): Promise<OnceAnswer> => {
      if (created.has(task.id)) return { kind: 'created', created: toCreatedTask(task, answer) }
      const known = first.get(nameOf(task))
      // The key expired and was deleted in between, so it is free.
      if (known === undefined)
        return (await createTasksOnce(db, [task], claimWindowMs, keyTtlMs))[0] ?? { kind: 'mismatch' }
      return known.fingerprint === task.fingerprint ? { kind: 'repeated', task: known.task } : { kind: 'mismatch' }
    }),
  )
}

interface FirstTask {
  fingerprint: string
  task: Task
}

const READ_KEYS: Statement = {
  name: 'read_idempotency_keys',
  text: `
select k.tenant, k.key, k.fingerprint, k.run_at as "firstRunAt", ${TASK_COLUMNS}
from unnest($1::text::text[], $2::text::text[]) as r (tenant, key)
join taskwire.idempotency_keys k on k.tenant = any(array[r.tenant]) and k.key = any(array[r.key])
join taskwire.tasks t on t.id = any(array[k.task_id])`,
}

interface KeyRow extends TaskRow {
  tenant: string
  key: string
  fingerprint: string
  firstRunAt: Date | null
}

/** The task that each key stands for, as first returned; by key. */
async function readFirstTasks(db: Database, tasks: readonly KeyedTask[]): Promise<Map<string, FirstTask>> {
  const rows = await db.run<KeyRow>(READ_KEYS, [
    toArrayLiteral(tasks.map(({ tenant }) => tenant)),
    toArrayLiteral(tasks.map(({ key }) => key)),
  ])
  return new Map(rows.map((row) => [nameOf(row), { fingerprint: row.fingerprint, task: toFirstAnswer(row) }]))
}

function toFirstAnswer(row: KeyRow): Task {
  const runAt = row.firstRunAt?.toISOString() ?? null
  const untouched = {
    version: 1,
    attempt: 0,
    progress: null,
    result: null,
    failure: null,
    startedAt: null,
    finishedAt: null,
  }
  return { ...toTask(row), ...untouched, status: runAt === null ? 'PENDING' : 'SCHEDULED', runAt }
}

function nameOf({ tenant, key }: { tenant: string; key: string }): string {
  return JSON.stringify([tenant, key])
}

const DELETE_EXPIRED_KEYS: Statement = {
  name: 'delete_expired_keys',
  text: `
delete from taskwire.idempotency_keys k using (
  select tenant, key from taskwire.idempotency_keys where expires_at <= now() order by expires_at limit $1 for update skip locked
) old where k.tenant = any(array[old.tenant]) and k.key = any(array[old.key]) returning 1`,
}

/** Deletes expired keys, at most `limit`. Returns their number. */
export async function deleteExpiredKeys(db: Database, limit: number): Promise<number> {
  return (await db.run(DELETE_EXPIRED_KEYS, [limit])).length
}
