/**
 * The messages of `/ws/tasks`: one socket, many subscriptions. The client sends requests, each is answered by its `id`,
 * and the messages of all followed tasks are those of a socket for a single task (see `stream.ts`).
 */
import { Type, type Static } from 'typebox'
import { REFUSALS } from '../../public/protocol.js'
import { FieldError } from './errors.js'
import { TaskFilter } from './filter.js'
import { MAX_SELECTED_IDS } from './limits.js'
import { ListRequest } from './list.js'
import { TaskId } from './task.js'

/** In characters (Unicode code points), as JSON Schema counts. */
export const MAX_REQUEST_ID_LENGTH = 64
const RequestId = Type.String({
  minLength: 1,
  maxLength: MAX_REQUEST_ID_LENGTH,
  description: 'chosen by the client',
})
const Version = Type.Integer({ minimum: 0 })
const exact = { additionalProperties: false } as const

const SelectionById = Type.Object({ ids: Type.Array(TaskId, { minItems: 1, maxItems: MAX_SELECTED_IDS }) }, exact)

/** Tasks by id, or all that match a filter; `{}` matches every task. */
export const Selection = Type.Union([SelectionById, TaskFilter])
export type Selection = Static<typeof Selection>

/** Follow these tasks. A task named in `since` continues after that version; the others start with a snapshot. */
export const SubscribeRequest = Type.Object(
  {
    type: Type.Literal('subscribe'),
    id: RequestId,
    selection: Selection,
    since: Type.Optional(Type.Record(TaskId, Version)),
  },
  exact,
)
export type SubscribeRequest = Static<typeof SubscribeRequest>

/** The same for one kind of selection each, so that the errors of a request refer to the kind that was meant. */
export const SubscribeById = Type.Object({ ...SubscribeRequest.properties, selection: SelectionById }, exact)
export const SubscribeByFit = Type.Object({ ...SubscribeRequest.properties, selection: TaskFilter }, exact)

/** Follow a list: the answer names it, then `list` is sent, then `change` (see `list.ts`). */
export const SubscribeToList = Type.Object({ type: Type.Literal('subscribe'), id: RequestId, list: ListRequest }, exact)
export type SubscribeToList = Static<typeof SubscribeToList>

/** End the subscription with this id. */
export const UnsubscribeRequest = Type.Object({ type: Type.Literal('unsubscribe'), id: RequestId }, exact)
export const PingRequest = Type.Object({ type: Type.Literal('ping'), id: RequestId }, exact)

export const SocketRequest = Type.Union([SubscribeRequest, SubscribeToList, UnsubscribeRequest, PingRequest])
export type SocketRequest = Static<typeof SocketRequest>

/**
 * The subscription is active; its messages follow. `missing`: ids of tasks that do not exist. `list`: the name of the
 * list in its messages.
 */
export const SubscribedAnswer = Type.Object(
  {
    type: Type.Literal('subscribed'),
    id: RequestId,
    tasks: Type.Integer({ minimum: 0, description: 'the initial number of followed tasks, or of rows of the list' }),
    missing: Type.Optional(Type.Array(TaskId)),
    list: Type.Optional(
      Type.String({ description: 'the name of the list in its messages; identical lists have the same name' }),
    ),
  },
  exact,
)

/** The request had no effect, and why. */
export const RefusedAnswer = Type.Object(
  {
    type: Type.Literal('refused'),
    id: RequestId,
    code: Type.Enum([...REFUSALS]),
    detail: Type.String(),
    errors: Type.Optional(Type.Array(FieldError)),
  },
  exact,
)
export type RefusedAnswer = Static<typeof RefusedAnswer>

export const UnsubscribedAnswer = Type.Object({ type: Type.Literal('unsubscribed'), id: RequestId }, exact)
export const PongAnswer = Type.Object({ type: Type.Literal('pong'), id: RequestId }, exact)

export const SocketAnswer = Type.Union([SubscribedAnswer, RefusedAnswer, UnsubscribedAnswer, PongAnswer])
export type SocketAnswer = Static<typeof SocketAnswer>
