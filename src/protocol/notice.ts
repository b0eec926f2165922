/**
 * Notices of changes, for lists: small enough to be sent for every task, and with enough data to tell whether the task
 * can be a row.
 */
import type { Status } from './status.js'
import type { TaskId } from './task.js'

/** The fields that decide whether a task matches a list. Never sent to clients. */
export interface TaskFacts {
  type: string
  queue: string
  tags: string[]
  batchId: TaskId | null
  parentId: TaskId | null
  /** ISO 8601. */
  createdAt: string
}

/** A copy of a change that is already committed. */
export interface Notice {
  taskId: TaskId
  /** Whose task it is; missing: the default tenant's. */
  tenant?: string
  version: number
  status: Status
  /** If missing, the receiver must read the task. */
  facts?: TaskFacts
  /** Only the progress has changed, so the task matches the same lists as before. */
  isProgress?: true
}
