/** The query of a list, and what can be told about a change without reading the task. */
import { tenantOf } from '../access/principal.js'
import { compareRows, type ListCounts, type ListFilter } from '../protocol/list.js'
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
  filter: ListFilter
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
  find(filter: ListFilter, options: { limit: number; position?: ListPosition | undefined }): Promise<{ found: FoundRow[]; next: ListPosition | null }>
  /** The rows of those of these tasks that match. */
  readRows(filter: ListFilter, ids: readonly TaskId[]): Promise<ListedRow[]>
  /** How many tasks match, whatever their status. */
  count(filter: ListFilter): Promise<ListCounts>
}

/** Two lists with the same key are the same list of the same tenant. */
export function keyOf(tenant: string, { filter, limit, before }: ListQuery): string {
  const { status, type, tag, queue, batch, parent, createdAfter, createdBefore, q } = filter
  return JSON.stringify([tenant, status, type, tag, queue, batch, parent, createdAfter, createdBefore, q, limit, before?.id, before?.createdAt])
}

/** False: after this change the task certainly does not match, or it belongs to another tenant. True: it may match. */
export function mayFit(tenant: string, { status, type, tag, queue, batch, parent, createdAfter, createdBefore }: ListFilter, notice: Notice): boolean {
  if (tenantOf(notice) !== tenant || (status !== undefined && status !== notice.status)) return false
  const { facts } = notice
  if (facts === undefined) return true
  return (
    (type === undefined || type === facts.type) &&
    (queue === undefined || queue === facts.queue) &&
    (tag === undefined || facts.tags.includes(tag)) &&
    (batch === undefined || batch === facts.batchId) &&
    (parent === undefined || parent === facts.parentId) &&
    (createdAfter === undefined || Date.parse(facts.createdAt) >= Date.parse(createdAfter)) &&
    (createdBefore === undefined || Date.parse(facts.createdAt) < Date.parse(createdBefore))
  )
}

/** Whether the notice alone proves that the task matches. */
export function isSureOf({ q }: ListFilter, { facts }: Notice): boolean {
  return q === undefined && facts !== undefined
}

/** The order of a list, for rows, positions and notices. */
export function compareIn(filter: ListFilter): (a: ListPosition, b: ListPosition) => number {
  const compare = compareRows(filter)
  const timed = ({ id, createdAt }: ListPosition) => ({ id, createdAt: createdAt === undefined ? '' : toInstant(createdAt) })
  return (a, b) => compare(timed(a), timed(b))
}

/** PostgreSQL's format of a time in JSON differs from ours. */
function toInstant(text: string): string {
  return text.endsWith('Z') ? text : new Date(text).toISOString()
}
