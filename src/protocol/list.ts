/**
 * Lists that are kept current: a filter, the newest first, and a window of rows. All who watch the same list are told by the same
 * messages.
 *
 * - First `list`: the rows of the window, newest first. It replaces whatever the client held of this list. It comes again after an
 *   outage, or when the client was too slow to be told every change.
 * - Then `change`: rows that have come or have changed (`upsert`) and rows that have gone (`remove`), to be applied together.
 *   At most four a second; what lies between is skipped, and the last state always arrives.
 * - `revision` goes up by one with each message of a list. A client drops a message whose revision is at or below its own.
 * - The order of the rows is that of `compareRows`: the client sorts what it is told.
 *
 * Rows are tasks without payload and result.
 *
 * Over `/ws/tasks`: `{"type":"subscribe","id":"mine","list":{"filter":{"status":"FAILED"},"limit":50}}` is answered with
 * `{"type":"subscribed","id":"mine","tasks":3,"list":"…"}`, and `unsubscribe` ends it. As server-sent events:
 * `GET /api/tasks/events?list=50&status=FAILED`, where `list` is the number of rows, `cursor` is where the window begins, and `ids` may name
 * tasks to be followed over the same stream; the event has the type of the message.
 */
import { Type, type Static } from 'typebox'
import { DEFAULT_LIST_ROWS, MAX_LIST_ROWS } from '../../public/protocol.js'
import { TaskFilter } from './filter.js'
import { MAX_CURSOR_LENGTH } from './limits.js'
import { Status, STATUSES } from './status.js'
import { TaskId, TaskSummary } from './task.js'

export { compareRows, DEFAULT_LIST_ROWS, MAX_LIST_ROWS } from '../../public/protocol.js'

const exact = { additionalProperties: false } as const
const Nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()])

/** Tasks before the window are counted up to this number. */
export const MAX_NEWER = 200
/** Tasks of a status are counted up to this number. */
export const MAX_COUNTED = 10_000

/** A filter and a window of what fits it, newest first. */
export const ListRequest = Type.Object(
  {
    filter: Type.Optional(TaskFilter),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_LIST_ROWS, default: DEFAULT_LIST_ROWS, description: 'rows of the window' })),
    before: Type.Optional(
      Type.String({ maxLength: MAX_CURSOR_LENGTH, description: 'where the window begins: `nextCursor` of a list or page with the same filter. Left out: at the newest task' }),
    ),
  },
  exact,
)
export type ListRequest = Static<typeof ListRequest>

/**
 * How many tasks fit the filter, whatever their status: by status, 0 left out. `more` names the statuses that have more tasks than were
 * counted; of the others the number is exact.
 */
export const ListCounts = Type.Object(
  {
    byStatus: Type.Unsafe<Partial<Record<Status, number>>>(
      Type.Object(Object.fromEntries(STATUSES.map((status) => [status, Type.Optional(Type.Integer({ minimum: 1 }))])), exact),
    ),
    more: Type.Array(Status),
  },
  exact,
)
export type ListCounts = Static<typeof ListCounts>

const Newer = Type.Integer({
  minimum: 0,
  maximum: MAX_NEWER,
  description: `tasks that fit and stand before the window, counted to ${MAX_NEWER}; always 0 for a window that begins at the newest task`,
})
const Counts = Nullable({ ...ListCounts, description: 'null until they have been counted' })
const NextCursor = Nullable(Type.String({ description: 'where the tasks behind the window begin; null when there are none' }))
const head = {
  /** Names the list on this connection, as the answer to the subscription said. */
  list: Type.String(),
  revision: Type.Integer({ minimum: 1 }),
}

/** The whole window. It replaces whatever the client held. */
export const ListMessage = Type.Object(
  { type: Type.Literal('list'), ...head, items: Type.Array(TaskSummary), nextCursor: NextCursor, newer: Newer, counts: Counts },
  exact,
)
export type ListMessage = Static<typeof ListMessage>

/** What has changed since the revision before. What is left out has not changed. */
export const ListChangeMessage = Type.Object(
  {
    type: Type.Literal('change'),
    ...head,
    upsert: Type.Optional(Type.Array(TaskSummary, { description: 'rows as they stand now, new ones too' })),
    remove: Type.Optional(Type.Array(TaskId, { description: 'rows that have left the window' })),
    nextCursor: Type.Optional(NextCursor),
    newer: Type.Optional(Newer),
    counts: Type.Optional(Counts),
  },
  exact,
)
export type ListChangeMessage = Static<typeof ListChangeMessage>

export type ListStreamMessage = ListMessage | ListChangeMessage
