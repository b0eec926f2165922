/**
 * Writes new tasks: for each the row, its first transition and its delivery, all in one durable statement.
 *
 * In: tasks with ids made by the caller. Out: per task what the database decided, in the order given. A task whose start
 * lies in the future is SCHEDULED and its delivery is due then; any other is PENDING and its delivery falls to the relay
 * when nobody has claimed it within `claimWindowMs`. Emits nothing: nobody can watch an id before it was answered.
 */
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Database, Statement } from '../../db/database.js'
import type { Status } from '../../protocol/status.js'
import type { TaskId } from '../../protocol/task.js'

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
  /** Not before so many milliseconds from now, or null. */
  delayMs: number | null
}

export interface CreatedTask {
  id: TaskId
  status: Status
  runAt: Date | null
  createdAt: Date
}

const CREATE_TASKS: Statement = {
  name: 'create_tasks',
  text: `
with input as (
  select id, tenant, type, title, priority, tags::text[], payload::jsonb, coalesce(run_at, now() + delay_ms * interval '1 ms') as start_at
  from unnest($2::text::uuid[], $3::text::text[], $4::text::text[], $5::text::text[], $6::text::smallint[], $7::text::text[],
    $8::text::text[], $9::text::timestamptz[], $10::text::double precision[]) as r (id, tenant, type, title, priority, tags, payload, run_at, delay_ms)
), created as (
  insert into taskwire.tasks (id, tenant, type, title, priority, tags, payload, status, run_at)
  select id, tenant, type, title, priority, tags, payload,
    (case when start_at > now() then 'SCHEDULED' else 'PENDING' end)::taskwire.task_status,
    case when start_at > now() then start_at end
  from input
  returning id, tenant, priority, status, run_at, created_at
), history as (
  insert into taskwire.transitions (task_id, version, tenant, status, attempt, at)
  select id, 1, tenant, status, 0, created_at from created
), outbox as (
  insert into taskwire.deliveries (task_id, attempt, tenant, priority, due_at)
  select id, 1, tenant, priority, coalesce(run_at, now() + $1::double precision * interval '1 ms') from created
)
select now()::timestamptz(3) as "createdAt",
  (select json_object_agg(id, run_at) from created where run_at is not null) as "startsById"`,
}

/** One row for all: nearly every task is PENDING, created at the time of the statement. */
interface CreateAnswer {
  createdAt: Date
  /** The start of each task that is SCHEDULED. */
  startsById: Record<TaskId, string> | null
}

/**
 * @param claimWindowMs how long workers have to claim a PENDING task before the relay delivers it; 0 when the caller
 *   will not hand it to the broker itself
 */
export async function createTasks(db: Database, tasks: readonly NewTask[], claimWindowMs: number): Promise<CreatedTask[]> {
  const column = (read: (task: NewTask) => string | number | null) => toArrayLiteral(tasks.map(read))
  const [answer] = await db.run<CreateAnswer>(CREATE_TASKS, [
    claimWindowMs,
    column((task) => task.id),
    column((task) => task.tenant),
    column((task) => task.type),
    column((task) => task.title),
    column((task) => task.priority),
    column((task) => toArrayLiteral(task.tags)),
    column((task) => JSON.stringify(task.payload ?? null)),
    column((task) => task.runAt),
    column((task) => task.delayMs),
  ])
  if (answer === undefined) throw new Error('the database did not answer')
  const { createdAt, startsById } = answer
  return tasks.map(({ id }) => {
    const start = startsById?.[id]
    return start === undefined ? { id, status: 'PENDING', runAt: null, createdAt } : { id, status: 'SCHEDULED', runAt: new Date(start), createdAt }
  })
}
