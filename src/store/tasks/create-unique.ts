/**
 * Creates tasks of which at most one may be unfinished for each unique key, and at most one SCHEDULED for each debounce
 * key. If there is one, it is the answer; with a debounce key it is changed (see `take-debounces.ts`).
 *
 * All tasks of a call are written in one transaction, or none. Two callers meet at the key's row. The row is removed
 * when its task ends (by a trigger), so a caller that finds it gone in between takes the key. Settlements lock in the
 * order of ids and creates in that of keys, so two of them may wait for each other. PostgreSQL then rolls one back, and
 * a rolled-back create is retried.
 */
import type { Principal } from '../../access/principal.js'
import { retryConflicts } from '../../db/conflict.js'
import type { Database, Statement, Transaction } from '../../db/database.js'
import type { Event } from '../../protocol/stream.js'
import type { TaskId } from '../../protocol/task.js'
import { createTasksStatement, toCreatedTask, type CreateAnswer, type CreatedTask, type NewTask } from './create.js'
import { keepDebounces, takeDebounces } from './take-debounces.js'

/**
 * `created`: the task as it was stored, which later creates of the same call with the same debounce key have changed.
 * `existing`: the id of the unfinished task that has the unique key. `debounced`: the id of the task that was changed.
 */
export type UniqueAnswer =
  | { kind: 'created'; task: NewTask; created: CreatedTask }
  | { kind: 'existing'; id: TaskId }
  | { kind: 'debounced'; id: TaskId }

/** An `Idempotency-Key`, which stands for the first of the tasks. */
export interface CreateKey {
  key: string
  /** Digest of the request body that came with it. */
  fingerprint: string
  ttlMs: number
}

const TAKE_KEY: Statement = {
  name: 'take_idempotency_key',
  text: `
insert into taskwire.idempotency_keys as k (tenant, key, fingerprint, task_id, expires_at)
values ($1, $2, $3, $4::text::uuid, now() + $5::double precision * interval '1 ms')
on conflict (tenant, key) do update set fingerprint = excluded.fingerprint, task_id = excluded.task_id, run_at = null, expires_at = excluded.expires_at
  where k.expires_at <= now()
returning 1 as taken`,
}

const TAKE_UNIQUE: Statement = {
  name: 'take_unique_key',
  // The update changes nothing; it makes the statement return the other task's row.
  text: `
insert into taskwire.unique_keys as u (tenant, type, key, task_id) values ($1, $2, $3, $4::text::uuid)
on conflict (tenant, type, key) do update set task_id = u.task_id returning task_id as "taskId"`,
}

/** The key was used before; nothing was written. */
export class KeyTakenError extends Error {
  override readonly name = 'KeyTakenError'
}

/**
 * @param claimWindowMs as for `createTasks`
 * @returns the answers in the order of the tasks, and the events to publish
 * @throws KeyTakenError when the key stands for earlier tasks
 * @throws what the `Debounce` of a task throws
 */
export function createUniqueTasks(
  principal: Principal,
  db: Database,
  tasks: readonly NewTask[],
  claimWindowMs: number,
  once?: CreateKey,
): Promise<{ answers: UniqueAnswer[]; events: Event[] }> {
  return retryConflicts(() =>
    db.transaction((transaction) => createUniqueTasksIn(principal, transaction, tasks, claimWindowMs, once)),
  )
}

/** The same within a transaction, which the caller retries after a conflict. */
export async function createUniqueTasksIn(
  principal: Principal,
  transaction: Transaction,
  tasks: readonly NewTask[],
  claimWindowMs: number,
  once?: CreateKey,
): Promise<{ answers: UniqueAnswer[]; events: Event[] }> {
  const debounced = await takeDebounces(principal, transaction, tasks)
  const existing = await takeUniqueKeys(transaction, tasks)
  const [first] = tasks
  if (once && first)
    await takeKey(principal, transaction, once, existing.get(first.id) ?? debounced.held.get(first.id) ?? first.id)
  const fresh = tasks
    .filter(({ id }) => !existing.has(id) && !debounced.held.has(id))
    .map((task) => debounced.fresh.get(task.id) ?? task)
  const [answer] =
    fresh.length > 0
      ? await transaction.run<CreateAnswer>(createTasksStatement(fresh), [claimWindowMs, JSON.stringify(fresh)])
      : []
  await keepDebounces(principal, transaction, debounced.kept)
  const freshById = new Map(fresh.map((task) => [task.id, task]))
  const answers = tasks.map(({ id }): UniqueAnswer => {
    const holder = existing.get(id)
    if (holder !== undefined) return { kind: 'existing', id: holder }
    const changed = debounced.held.get(id)
    if (changed !== undefined) return { kind: 'debounced', id: changed }
    const task = freshById.get(id)
    if (task === undefined || answer === undefined) throw new Error(`the store did not create the task ${id}`)
    return { kind: 'created', task, created: toCreatedTask(task, answer) }
  })
  return { answers, events: debounced.events }
}

/** @throws KeyTakenError */
async function takeKey(
  { tenant }: Principal,
  transaction: Transaction,
  { key, fingerprint, ttlMs }: CreateKey,
  id: TaskId,
): Promise<void> {
  const rows = await transaction.run(TAKE_KEY, [tenant, key, fingerprint, id, ttlMs])
  if (rows.length === 0) throw new KeyTakenError(`the idempotency key ${key} was used before`)
}

/** By the id of a task: the unfinished task that has its unique key. */
async function takeUniqueKeys(transaction: Transaction, tasks: readonly NewTask[]): Promise<Map<TaskId, TaskId>> {
  const existing = new Map<TaskId, TaskId>()
  for (const task of sortByKey(tasks)) {
    const holder = await takeUniqueKey(transaction, task)
    if (holder !== task.id) existing.set(task.id, holder)
  }
  return existing
}

/** The same order for all callers, so that two of them wait for each other instead of deadlocking. */
function sortByKey(tasks: readonly NewTask[]): NewTask[] {
  const keyed = tasks.filter(({ more }) => more?.uniqueKey !== undefined)
  return keyed.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
}

function nameOf({ type, more }: NewTask): string {
  return `${type} ${more?.uniqueKey}`
}

/** The id of the task that has the key: this task, or an unfinished one. */
async function takeUniqueKey(transaction: Transaction, { tenant, type, id, more }: NewTask): Promise<TaskId> {
  const [row] = await transaction.run<{ taskId: TaskId }>(TAKE_UNIQUE, [tenant, type, more?.uniqueKey ?? '', id])
  return row?.taskId ?? id
}

/**
 * The task that this key stands for: created, or changed by its debounce key, now or by an earlier call. The relay
 * delivers it.
 * @param once its key belongs to the tenant
 * @returns its id, and the events to publish
 */
export async function createTaskOnce(
  principal: Principal,
  db: Database,
  task: NewTask,
  once: CreateKey,
): Promise<{ id: TaskId; events: Event[] }> {
  try {
    const { answers, events } = await createUniqueTasks(principal, db, [task], 0, once)
    const [answer] = answers
    return { id: answer === undefined || answer.kind === 'created' ? task.id : answer.id, events }
  } catch (error) {
    if (!(error instanceof KeyTakenError)) throw error
    const [row] = await db.run<{ taskId: TaskId }>(FIND_KEY, [principal.tenant, once.key])
    return row === undefined ? createTaskOnce(principal, db, task, once) : { id: row.taskId, events: [] }
  }
}

const FIND_KEY: Statement = {
  name: 'find_idempotency_key',
  text: `select k.task_id as "taskId" from taskwire.idempotency_keys k where k.tenant = $1 and k.key = $2`,
}

const READ_BATCH_OF_KEY: Statement = {
  name: 'read_batch_of_key',
  text: `
select k.fingerprint, t.id
from taskwire.idempotency_keys k
join taskwire.tasks first on first.id = any(array[k.task_id])
join taskwire.tasks t on t.id = any(array[first.id]) or (first.batch_id is not null and t.batch_id = any(array[first.batch_id]))
where k.tenant = $1 and k.key = $2 order by t.id <> first.id, t.id`,
}

/** The ids of the tasks that this key stands for, first the task it was given to; undefined when it stands for none. */
export async function readBatchOfKey(
  { tenant }: Principal,
  db: Database,
  key: string,
): Promise<{ fingerprint: string; ids: TaskId[] } | undefined> {
  const rows = await db.run<{ fingerprint: string; id: TaskId }>(READ_BATCH_OF_KEY, [tenant, key])
  const [first] = rows
  return first && { fingerprint: first.fingerprint, ids: rows.map(({ id }) => id) }
}
