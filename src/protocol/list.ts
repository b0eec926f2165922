/**
 * Live lists: a filter, the newest first, and a window of rows. All clients that watch the same list receive the same
 * messages.
 *
 * - First comes `list`: the rows of the window, newest first. It replaces the client's copy of the list. It is sent
 *   again after an outage, or if the client was too slow to receive every change.
 * - Then comes `change`: rows that were added or changed (`upsert`) and rows that were removed (`remove`), to be
 *   applied together. At most four a second are sent; intermediate states are skipped, and the last state always
 *   arrives.
 * - `revision` goes up by one with each message of a list. A client drops a message whose revision is at or below its
 *   own.
 * - The rows are ordered by `compareRows`: the client sorts what it receives.
 *
 * Rows are tasks without payload and result.
 *
 * Over `/ws/tasks`, `{"type":"subscribe","id":"mine","list":{"filter":{"status":"FAILED"},"limit":50}}` is answered
 * with `{"type":"subscribed","id":"mine","tasks":3,"list":"…"}`, and `unsubscribe` ends it. Over server-sent events,
 * use `GET /api/tasks/events?list=50&status=FAILED`: `list` is the number of rows, `cursor` is where the window begins,
 * and `ids` may name tasks to follow over the same stream; the event has the type of the message.
 */
import { Type, type Static } from 'typebox'
import { TaskFilter } from './filter.js'
import { DEFAULT_LIST_ROWS, MAX_CURSOR_LENGTH, MAX_LIST_ROWS } from './limits.js'
import { Nullable } from './nullable.js'
import { Status, STATUSES } from './status.js'
import { TaskId, TaskSummary } from './task.js'

export { compareRows } from '../../public/protocol.js'

const exact = { additionalProperties: false } as const

/** Tasks ahead of the window are counted up to this number. */
export const MAX_NEWER = 200
/** Tasks of a status are counted up to this number. */
export const MAX_COUNTED = 10_000

/** A filter and a window of the tasks that match it, newest first. */
export const ListRequest = Type.Object(
  {
    filter: Type.Optional(TaskFilter),
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_LIST_ROWS,
        default: DEFAULT_LIST_ROWS,
        description: 'rows of the window',
      }),
    ),
    before: Type.Optional(
      Type.String({
        maxLength: MAX_CURSOR_LENGTH,
        description:
          'where the window begins: `nextCursor` of a list or page with the same filter. If omitted, it begins at the newest task',
      }),
    ),
  },
  exact,
)
export type ListRequest = Static<typeof ListRequest>

/**
 * How many tasks match the filter apart from its status, by status; zeros are left out. `more` names the statuses that
 * have more tasks than were counted; the other numbers are exact.
 */
export const ListCounts = Type.Object(
  {
    byStatus: Type.Unsafe<Partial<Record<Status, number>>>(
      Type.Object(
        Object.fromEntries(STATUSES.map((status) => [status, Type.Optional(Type.Integer({ minimum: 1 }))])),
        exact,
      ),
    ),
    more: Type.Array(Status),
  },
  exact,
)
export type ListCounts = Static<typeof ListCounts>

const Newer = Type.Integer({
  minimum: 0,
  maximum: MAX_NEWER,
  description: `matching tasks ahead of the window, counted up to ${MAX_NEWER}; always 0 for a window that begins at the newest task`,
})
const Counts = Nullable({ ...ListCounts, description: 'null until they have been counted' })
const NextCursor = Nullable(
  Type.String({ description: 'where the tasks after the window begin; null if there are none' }),
)
const head = {
  /** The name of the list on this connection, as given in the answer to the subscription. */
  list: Type.String(),
  revision: Type.Integer({ minimum: 1 }),
}

/** The whole window. It replaces the client's copy. */
export const ListMessage = Type.Object(
  {
    type: Type.Literal('list'),
    ...head,
    items: Type.Array(TaskSummary),
    nextCursor: NextCursor,
    newer: Newer,
    counts: Counts,
  },
  exact,
)
export type ListMessage = Static<typeof ListMessage>

/** The changes since the previous revision. A field that is left out has not changed. */
export const ListChangeMessage = Type.Object(
  {
    type: Type.Literal('change'),
    ...head,
    upsert: Type.Optional(Type.Array(TaskSummary, { description: 'the current state of new and changed rows' })),
    remove: Type.Optional(Type.Array(TaskId, { description: 'rows that have left the window' })),
    nextCursor: Type.Optional(NextCursor),
    newer: Type.Optional(Newer),
    counts: Type.Optional(Counts),
  },
  exact,
)
export type ListChangeMessage = Static<typeof ListChangeMessage>

export type ListStreamMessage = ListMessage | ListChangeMessage
