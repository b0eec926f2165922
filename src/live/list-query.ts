/** The query of a list, and what can be told about a change without reading the task. */
import { tenantOf } from '../access/principal.js'
import { FILTER_NAMES, fitsFilter, type TaskFilter } from '../protocol/filter.js'
import { compareRows, type ListCounts } from '../protocol/list.js'
import type { Notice } from '../protocol/notice.js'
import type { Status } from '../protocol/status.js'
import type { TaskId, TaskSummary } from '../protocol/task.js'

/** A position between two rows: after this one. */
export interface ListPosition {
  id: TaskId
  /** ISO 8601. Missing if the list is ordered by id. */
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
  /** Different whenever the row has been written. */
  stamp: string
}

export interface ListedRow {
  task: TaskSummary
  stamp: string
}

/** The queries of a list to PostgreSQL. */
export interface ListReads {
  /**
   * The matching tasks, newest first, without their rows; `next` is where the next page begins, null if there is none.
   */
  find(
    filter: TaskFilter,
    options: { limit: number; position?: ListPosition | undefined },
  ): Promise<{ found: FoundRow[]; next: ListPosition | null }>
  /** The rows of those of these tasks that match. */
  readRows(filter: TaskFilter, ids: readonly TaskId[]): Promise<ListedRow[]>
  /** How many tasks match, whatever their status. */
  count(filter: TaskFilter): Promise<ListCounts>
}

/** Two lists with the same key are the same list of the same tenant. */
export function keyOf(tenant: string, { filter, limit, before }: ListQuery): string {
  return JSON.stringify([tenant, ...FILTER_NAMES.map((name) => filter[name]), limit, before?.id, before?.createdAt])
}

/**
 * Whether the task matches after this change. False also if it belongs to another tenant; undefined if only the task
 * itself can tell.
 */
export function fitsNotice(tenant: string, filter: TaskFilter, notice: Notice): boolean | undefined {
  return tenantOf(notice) === tenant ? fitsFilter(filter, notice) : false
}

/** The order of a list, for rows, positions and notices. */
export function compareIn(filter: TaskFilter): (a: ListPosition, b: ListPosition) => number {
  const compare = compareRows(filter)
  const timed = ({ id, createdAt }: ListPosition) => ({
    id,
    createdAt: createdAt === undefined ? '' : toInstant(createdAt),
  })
  return (a, b) => compare(timed(a), timed(b))
}

/** PostgreSQL's format of a time in JSON differs from ours. */
function toInstant(text: string): string {
  return text.endsWith('Z') ? text : new Date(text).toISOString()
}
