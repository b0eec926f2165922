/** The parameters of a list, read from its address. */
import type { ListQuery } from '../../live/list-query.js'
import { isOrderedByTime, readTaskFilter, type TaskFilter } from '../../protocol/filter.js'
import { DEFAULT_LIST_ROWS } from '../../protocol/limits.js'
import type { ListRequest } from '../../protocol/list.js'
import type { ListTasksQuery } from '../../protocol/queries.js'
import { FIRST_INSTANT, LAST_INSTANT } from '../../protocol/task.js'
import type { ListField, ListPosition } from '../../store/reads/list.js'
import type { HistoryPosition } from '../../store/reads/tasks.js'
import { ProblemError } from '../problem.js'

const EARLIEST_MS = Date.parse(FIRST_INSTANT)
const LATEST_MS = Date.parse(LAST_INSTANT)

/** @throws ProblemError `invalid_request` if a time is invalid, or if no time is between the two */
export function readFilter(given: Parameters<typeof readTaskFilter>[0]): TaskFilter {
  const read = readTaskFilter(given)
  if ('filter' in read) return read.filter
  throw new ProblemError('invalid_request', `The query is invalid: ${read.error.pointer} ${read.error.detail}`, [
    read.error,
  ])
}

/** @throws ProblemError `invalid_request`, or `invalid_cursor` for `before` */
export function readListRequest({ filter: given = {}, limit = DEFAULT_LIST_ROWS, before }: ListRequest): ListQuery {
  const filter = readFilter(given)
  return { filter, limit, ...(before !== undefined && { before: decodeCursor(before, filter) }) }
}

export function readFields(fields: ListTasksQuery['fields']): ListField[] {
  return (fields?.split(',') ?? []) as ListField[]
}

/** Opaque to clients, so that the key of a page can change: the id, and the time in milliseconds. */
export function encodeCursor({ id, createdAt }: ListPosition): string {
  const time = Buffer.alloc(8)
  time.writeDoubleBE(createdAt === undefined ? Number.NaN : Date.parse(createdAt))
  return Buffer.concat([Buffer.from(id.replaceAll('-', ''), 'hex'), time]).toString('base64url')
}

/** @throws ProblemError `invalid_cursor` if it is malformed, or belongs to a list with other filters */
export function decodeCursor(cursor: string, filter: TaskFilter): ListPosition {
  const bytes = Buffer.from(cursor, 'base64url')
  // Cursors of earlier versions have no time.
  const milliseconds = bytes.length === 24 ? bytes.readDoubleBE(16) : Number.NaN
  const isTime = Number.isNaN(milliseconds) || (milliseconds >= EARLIEST_MS && milliseconds <= LATEST_MS)
  if ((bytes.length !== 16 && bytes.length !== 24) || !isTime)
    throw refuseCursor('The cursor was not issued by this server.', 'is malformed')
  if (isOrderedByTime(filter) && Number.isNaN(milliseconds))
    throw refuseCursor('The cursor belongs to a list with other filters.', 'has no time')
  const id = bytes.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  return Number.isNaN(milliseconds) ? { id } : { id, createdAt: new Date(milliseconds).toISOString() }
}

function refuseCursor(detail: string, what: string): ProblemError {
  return new ProblemError('invalid_cursor', detail, [{ pointer: '/cursor', detail: what }])
}

/** For the history of several tasks. */
export function encodeHistoryCursor({ at, taskId, version }: HistoryPosition): string {
  return Buffer.from([at, taskId, version].join(' ')).toString('base64url')
}

const HISTORY_CURSOR =
  /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) (\d{1,9})$/

/** @throws ProblemError `invalid_cursor` */
export function decodeHistoryCursor(cursor: string): HistoryPosition {
  const [, at = '', taskId = '', version] = HISTORY_CURSOR.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
  const milliseconds = Date.parse(at)
  if (Number.isNaN(milliseconds) || milliseconds < EARLIEST_MS)
    throw refuseCursor('The cursor was not issued by this server.', 'is malformed')
  return { at, taskId, version: Number(version) }
}
