/** Reads: tasks, their history and their positions. */
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Database, Statement } from '../../db/database.js'
import type { AttemptError } from '../../db/schema.js'
import type { Attempt } from '../../protocol/http.js'
import type { TransitionMessage } from '../../protocol/stream.js'
import type { Task, TaskId, Transition } from '../../protocol/task.js'
import { TASK_COLUMNS, toTask, toTransitionMessage, type TaskRow, type TransitionRow } from './rows.js'

const READ_TASKS: Statement = {
  name: 'read_tasks',
  // How many ids there are is not guessed from their text, so one plan serves them all: half the work of reading one task.
  text: `
select ${TASK_COLUMNS} from json_array_elements_text($1::text::json) as i(id)
join taskwire.tasks t on t.id = any(array[i.id::uuid]) where t.tenant = $2`,
}

/** The tasks with these ids, in no order; ids that do not exist, or are somebody else's, are left out. */
export async function readTasks(db: Database, tenant: string, ids: readonly TaskId[]): Promise<Task[]> {
  const rows = await db.run<TaskRow>(READ_TASKS, [JSON.stringify([...new Set(ids)]), tenant])
  return rows.map(toTask)
}

const READ_VERSIONS: Statement = {
  name: 'read_versions',
  text: `select t.id, t.version from taskwire.tasks t where t.id = any($1::text::uuid[])`,
}

/** The position of each of these tasks. */
export function readVersions(db: Database, ids: readonly TaskId[]): Promise<{ id: TaskId; version: number }[]> {
  return db.run(READ_VERSIONS, [toArrayLiteral(ids)])
}

const READ_TRANSITIONS: Statement = {
  name: 'read_transitions',
  // What a task ended with belongs to its last transition: nothing leaves a final status.
  text: `
select r.task_id as "taskId", r.version, r.from_status as "fromStatus", r.status, r.attempt, r.at, r.reason,
  case when t.version = r.version then t.run_at end as "runAt", case when t.version = r.version then t.result end as result,
  case when t.version = r.version then t.failure end as failure
from taskwire.transitions r join taskwire.tasks t on t.id = r.task_id
where r.task_id = $1::text::uuid and r.version > $2::integer and t.tenant = $3 order by r.version limit $4::integer`,
}

/** The messages of the transitions after version `since`, oldest first, at most `limit`. */
export async function readTransitionMessages(
  db: Database,
  tenant: string,
  id: TaskId,
  since: number,
  limit: number,
): Promise<TransitionMessage[]> {
  const rows = await db.run<TransitionRow>(READ_TRANSITIONS, [id, since, tenant, limit])
  return rows.map(toTransitionMessage)
}

/** The whole stored history, oldest first; empty when there is no such task. */
export async function readTransitions(db: Database, tenant: string, id: TaskId): Promise<Transition[]> {
  const rows = await db.run<TransitionRow>(READ_TRANSITIONS, [id, 0, tenant, 10_000])
  return rows.map(toTransition)
}

const READ_TRANSITIONS_OF_TASKS: Statement = {
  name: 'read_transitions_of_tasks',
  text: `
select r.task_id as "taskId", r.version, r.from_status as "fromStatus", r.status, r.attempt, r.at, r.reason
from taskwire.transitions r where r.task_id = any($1::text::uuid[]) and r.tenant = $2
order by r.at, r.task_id, r.version limit 10000`,
}

/** The stored histories of these tasks as one, oldest first, at most 10,000 transitions. */
export async function readTransitionsOfTasks(db: Database, tenant: string, ids: readonly TaskId[]): Promise<({ taskId: TaskId } & Transition)[]> {
  const rows = await db.run<TransitionRow>(READ_TRANSITIONS_OF_TASKS, [toArrayLiteral(ids), tenant])
  return rows.map((row) => ({ taskId: row.taskId, ...toTransition(row) }))
}

function toTransition({ version, fromStatus, status, attempt, at, reason }: TransitionRow): Transition {
  return { version, from: fromStatus, status, attempt, at: at.toISOString(), reason }
}

const READ_ATTEMPTS: Statement = {
  name: 'read_attempts',
  text: `
select a.attempt, a.worker, a.started_at as "startedAt", a.finished_at as "finishedAt", a.outcome, a.error
from taskwire.attempts a where a.task_id = any(array[$1::text::uuid]) and a.tenant = $2
union all
select l.attempt, l.worker, l.started_at, null, 'running', null
from taskwire.leases l where l.task_id = any(array[$1::text::uuid]) and l.tenant = $2
order by attempt`,
}

interface AttemptRow extends Omit<Attempt, 'startedAt' | 'finishedAt' | 'error'> {
  startedAt: Date
  finishedAt: Date | null
  error: AttemptError | null
}

/** The runs of a task, oldest first; the last one may be under way. Stacks stay on the server. */
export async function readAttempts(db: Database, tenant: string, id: TaskId): Promise<Attempt[]> {
  const rows = await db.run<AttemptRow>(READ_ATTEMPTS, [id, tenant])
  return rows.map(({ error, startedAt, finishedAt, ...row }) => ({
    ...row,
    startedAt: startedAt.toISOString(),
    finishedAt: finishedAt?.toISOString() ?? null,
    error: error && { name: error.name, message: error.message },
  }))
}
