/**
 * Creates tasks of which at most one may be unfinished for each unique key. If there is one, it is the answer.
 *
 * All tasks of a call are written in one transaction, or none. Two callers meet at the key's row. The row is removed
 * when its task ends (by a trigger), so a caller that finds it gone in between takes the key. Settlements lock in the
 * order of ids and creates in that of keys, so two of them may wait for each other. PostgreSQL then rolls one back, and
 * a rolled-back create is retried.
 */
import type { Principal } from '../../access/principal.js'
import { retryConflicts } from '../../db/conflict.js'
import type { Database, Statement, Transaction } from '../../db/database.js'
import type { TaskId } from '../../protocol/task.js'
import { CREATE_TASKS, toCreatedTask, type CreateAnswer, type CreatedTask, type NewTask } from './create.js'

/** `existing`: the id of the unfinished task that has the key. */
export type UniqueAnswer = { kind: 'created'; created: CreatedTask } | { kind: 'existing'; id: TaskId }

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
 * @throws KeyTakenError when the key stands for earlier tasks
 */
export async function createUniqueTasks(
  { tenant }: Principal,
  db: Database,
  tasks: readonly NewTask[],
  claimWindowMs: number,
  once?: CreateKey,
): Promise<UniqueAnswer[]> {
  const answers = await retryConflicts(() =>
    db.transaction(async (transaction) => {
      const existing = new Map<TaskId, TaskId>()
      for (const task of sortByKey(tasks)) {
        const holder = await takeUniqueKey(transaction, task)
        if (holder !== task.id) existing.set(task.id, holder)
      }
      const [first] = tasks
      if (once && first) {
        const rows = await transaction.run(TAKE_KEY, [
          tenant,
          once.key,
          once.fingerprint,
          existing.get(first.id) ?? first.id,
          once.ttlMs,
        ])
        if (rows.length === 0) throw new KeyTakenError(`the idempotency key ${once.key} was used before`)
      }
      const fresh = tasks.filter(({ id }) => !existing.has(id))
      const [answer] =
        fresh.length > 0
          ? await transaction.run<CreateAnswer>(CREATE_TASKS, [claimWindowMs, JSON.stringify(fresh)])
          : []
      return { existing, answer }
    }),
  )
  return tasks.map((task): UniqueAnswer => {
    const holder = answers.existing.get(task.id)
    if (holder !== undefined) return { kind: 'existing', id: holder }
    if (answers.answer === undefined) throw new Error(`the store did not create the task ${task.id}`)
    return { kind: 'created', created: toCreatedTask(task, answers.answer) }
  })
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
 * The id of the task that this key stands for: created now or by an earlier call. The relay delivers it.
 * @param once its key belongs to the tenant
 */
export async function createTaskOnce(
  principal: Principal,
  db: Database,
  task: NewTask,
  once: CreateKey,
): Promise<TaskId> {
  try {
    const [answer] = await createUniqueTasks(principal, db, [task], 0, once)
    return answer?.kind === 'existing' ? answer.id : task.id
  } catch (error) {
    if (!(error instanceof KeyTakenError)) throw error
    const [row] = await db.run<{ taskId: TaskId }>(FIND_KEY, [principal.tenant, once.key])
    return row?.taskId ?? createTaskOnce(principal, db, task, once)
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
