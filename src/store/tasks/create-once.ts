/**
 * Writes new tasks with an `Idempotency-Key` each. The key is written in the same statement as its task: a second create
 * with the same key, even a concurrent one, waits for the first at the key's row and finds its task.
 */
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Database, Statement } from '../../db/database.js'
import type { Task, TaskId } from '../../protocol/task.js'
import { TASK_COLUMNS, toTask, type TaskRow } from '../rows.js'
import { createStatements } from './create-statement.js'
import { toCreatedTask, type CreateAnswer, type CreatedTask, type NewTask } from './create.js'

/** One batch may hold several creates with one key: the first takes it. An expired key is free again. */
const createOnceStatement = createStatements('create_tasks_once', {
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
})

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
  const [answer] = await db.run<CreateAnswer & { createdIds: TaskId[] | null }>(createOnceStatement(tasks), [
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
