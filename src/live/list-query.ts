/** What a list is asked for, and what it asks of PostgreSQL. */
import { FILTER_NAMES, type TaskFilter } from '../protocol/filter.js'
import { compareRows, type ListCounts } from '../protocol/list.js'
import type { Status } from '../protocol/status.js'
import type { TaskId, TaskSummary } from '../protocol/task.js'

/** A place between two rows: behind this one. */
export interface ListPosition {
  id: TaskId
  /** ISO 8601. Missing where the order is that of the ids. */
  createdAt?: string | undefined
}

export interface ListQuery {
  filter: TaskFilter
  limit: number
  /** Where the window begins; undefined: at the newest task. */
  before?: ListPosition | undefined
}

export interface FoundRow extends ListPosition {
  createdAt: string
  status: Status
  version: number
  /** Another one whenever the row was written. */
  stamp: string
}

export interface ListedRow {
  task: TaskSummary
  stamp: string
}

/** What a list asks of PostgreSQL. */
export interface ListReads {
  /** The tasks that fit, newest first, without their rows; `next` is where to go on, null when there is nothing behind. */
  find(filter: TaskFilter, options: { limit: number; position?: ListPosition | undefined }): Promise<{ found: FoundRow[]; next: ListPosition | null }>
  /** The rows of those of these tasks that fit. */
  readRows(filter: TaskFilter, ids: readonly TaskId[]): Promise<ListedRow[]>
  /** How many tasks fit, whatever their status. */
  count(filter: TaskFilter): Promise<ListCounts>
}

/** Two lists with the same key are the same. */
export function keyOf({ filter, limit, before }: ListQuery): string {
  return JSON.stringify([...FILTER_NAMES.map((name) => filter[name]), limit, before?.id, before?.createdAt])
}

/** The order of a list over rows, positions and what notices know. */
export function compareIn(filter: TaskFilter): (a: ListPosition, b: ListPosition) => number {
  const compare = compareRows(filter)
  const timed = ({ id, createdAt }: ListPosition) => ({ id, createdAt: createdAt === undefined ? '' : toInstant(createdAt) })
  return (a, b) => compare(timed(a), timed(b))
}

/** PostgreSQL writes a time in JSON otherwise than we do. */
function toInstant(text: string): string {
  return text.endsWith('Z') ? text : new Date(text).toISOString()
}
