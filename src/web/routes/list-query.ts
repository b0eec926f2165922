/** The parameters of a list, read from its address. */
import type { ListQuery } from '../../live/list-query.js'
import type { FieldError } from '../../protocol/errors.js'
import type { ListTasksQuery } from '../../protocol/http.js'
import { DEFAULT_LIST_ROWS, type ListFilter, type ListRequest } from '../../protocol/list.js'
import { FIRST_INSTANT, LAST_INSTANT } from '../../protocol/task.js'
import type { ListField, ListPosition, TaskFilter } from '../../store/reads/list.js'
import type { HistoryPosition } from '../../store/reads/tasks.js'
import { ProblemError } from '../problem.js'

const EARLIEST_MS = Date.parse(FIRST_INSTANT)
const LATEST_MS = Date.parse(LAST_INSTANT)

/** @throws ProblemError `invalid_request` if a time is invalid, or if no time is between the two */
export function readFilter({ createdAfter, createdBefore, ...others }: Omit<ListTasksQuery, 'limit' | 'cursor' | 'fields'>): TaskFilter {
  const after = createdAfter === undefined ? undefined : readInstant('createdAfter', createdAfter)
  const before = createdBefore === undefined ? undefined : readInstant('createdBefore', createdBefore)
  if (after !== undefined && before !== undefined && after >= before) {
    throw refuse({ pointer: '/createdBefore', detail: 'must be later than createdAfter', fix: 'Swap the two, or omit one of them.' })
  }
  return { ...others, createdAfter: after, createdBefore: before }
}

/** The same for a watched list: equal filters have equal texts. @throws ProblemError as `readFilter` does */
export function readListFilter(given: ListFilter): ListFilter {
  const { batch, parent, ...others } = readFilter(given)
  const fields = Object.entries({ ...others, batch: batch?.toLowerCase(), parent: parent?.toLowerCase() }).filter(([, value]) => value !== undefined)
  return Object.fromEntries(fields) as ListFilter
}

/** @throws ProblemError `invalid_request`, or `invalid_cursor` for `before` */
export function readListRequest({ filter: given = {}, limit = DEFAULT_LIST_ROWS, before }: ListRequest): ListQuery {
  const filter = readListFilter(given)
  return { filter, limit, ...(before !== undefined && { before: decodeCursor(before, filter) }) }
}

/**
 * A time in the form that PostgreSQL accepts, from any form that RFC 3339 allows. Stored times have whole milliseconds,
 * so a finer one is rounded up.
 */
function readInstant(name: string, text: string): string {
  const [, finer = ''] = /\.\d{3}(\d+)/.exec(text) ?? []
  const milliseconds = Date.parse(text) + (Number(finer) > 0 ? 1 : 0)
  if (Number.isNaN(milliseconds)) throw refuse({ pointer: `/${name}`, detail: 'is not a valid time', fix: 'Send a time such as 2026-11-20T21:22:23Z.' })
  return new Date(Math.min(Math.max(milliseconds, EARLIEST_MS), LATEST_MS)).toISOString()
}

function refuse(error: FieldError): ProblemError {
  return new ProblemError('invalid_request', `The query is invalid: ${error.pointer} ${error.detail}`, [error])
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
export function decodeCursor(cursor: string, { createdAfter, createdBefore }: TaskFilter): ListPosition {
  const bytes = Buffer.from(cursor, 'base64url')
  // Cursors of earlier versions have no time.
  const milliseconds = bytes.length === 24 ? bytes.readDoubleBE(16) : Number.NaN
  const isTime = Number.isNaN(milliseconds) || (milliseconds >= EARLIEST_MS && milliseconds <= LATEST_MS)
  if ((bytes.length !== 16 && bytes.length !== 24) || !isTime) throw refuseCursor('The cursor was not issued by this server.', 'is malformed')
  if ((createdAfter ?? createdBefore) !== undefined && Number.isNaN(milliseconds)) throw refuseCursor('The cursor belongs to a list with other filters.', 'has no time')
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

const HISTORY_CURSOR = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) (\d{1,9})$/

/** @throws ProblemError `invalid_cursor` */
export function decodeHistoryCursor(cursor: string): HistoryPosition {
  const [, at = '', taskId = '', version] = HISTORY_CURSOR.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
  const milliseconds = Date.parse(at)
  if (Number.isNaN(milliseconds) || milliseconds < EARLIEST_MS) throw refuseCursor('The cursor was not issued by this server.', 'is malformed')
  return { at, taskId, version: Number(version) }
}
