/**
 * Writes new tasks: for each the row, its first transition and its delivery, in one durable statement.
 *
 * In: tasks with ids made by the caller. Out: per task what the database decided, in the order given. A task with a
 * start in the future is SCHEDULED, and its delivery is due then. Any other is PENDING, and the relay dispatches its
 * delivery if it was not claimed within `claimWindowMs`. Emits nothing: no client can follow an id before it was
 * returned.
 */
import type { Database } from '../../db/database.js'
import type { OnFailure } from '../../protocol/release.js'
import type { Status } from '../../protocol/status.js'
import type { TaskId, TaskSlot } from '../../protocol/task.js'
import { createStatements } from './create-statement.js'
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
  onFailure?: OnFailure | undefined
  /** How much of a rate limit its start takes. Default 1. */
  cost?: number | undefined
  /** For the tasks of schedules. */
  schedule?: TaskSlot | undefined
}

export interface CreatedTask {
  id: TaskId
  status: Status
  runAt: Date | null
  createdAt: Date
}

/** The statement that writes these tasks. */
export const createTasksStatement = createStatements('create_tasks', {
  columns: '',
  names: '',
  keys: [],
  source: 'input',
  answer: '',
})

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
