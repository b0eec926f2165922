/** What lists are told of a change: little enough to be sent of every task, enough to know whether the task can be a row. */
import type { Status } from './status.js'
import type { TaskId } from './task.js'

/** What of a task tells whether it fits a list. Never sent to clients. */
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
  /** Missing: whoever wants to know reads the task. */
  facts?: TaskFacts
  /** Nothing has changed but the progress, so that the task fits the same lists as before. */
  isProgress?: true
}
