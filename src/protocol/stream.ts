/**
 * The messages of a stream: what one WebSocket sends about one task.
 *
 * Every message is a JSON object with `type`, `taskId`, `status` and `version`, so that a client which only reads
 * `JSON.parse(e.data).status` is right.
 *
 * - Without `since`: one `snapshot` (the whole task), then what happens after it.
 * - With `since=<version>`: `resumed`, then each missed `transition`, then what happens after it. A position the task
 *   never reached is answered with `snapshot` and `reset: true`.
 * - When nothing was said for up to 15 s (`STREAM_HEARTBEAT_SECONDS`), a `heartbeat`.
 * - With `logs=1` also the latest stored lines that the handler has logged, and those that follow.
 * - After a final status the server closes with 1000.
 */
import { Type, type Static } from 'typebox'
import { CLOSES } from '../../public/protocol.js'
import type { TaskFacts } from './notice.js'
import { Status } from './status.js'
import { EditedField, Failure, Instant, LogLine, Progress, Task, TaskId } from './task.js'

const Version = Type.Integer({ minimum: 0 })
const Nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()])
const head = { taskId: TaskId, status: Status, version: Version }

/** The whole task as it stands at `version`. It replaces whatever the client held. */
export const SnapshotMessage = Type.Object(
  {
    type: Type.Literal('snapshot'),
    ...head,
    task: Task,
    reset: Type.Optional(Type.Literal(true, { description: 'the position asked for is unknown here; start over from this' })),
  },
  { additionalProperties: false },
)
export type SnapshotMessage = Static<typeof SnapshotMessage>

/** The position asked for with `since` is known; every transition after it follows one by one. */
export const ResumedMessage = Type.Object(
  { type: Type.Literal('resumed'), ...head },
  { additionalProperties: false },
)
export type ResumedMessage = Static<typeof ResumedMessage>

const { title, payload, priority, tags, expiresAt } = Task.properties

/** The values that an edit gave to the fields it changed. A value that a later edit has replaced is left out of what is read later. */
export const TaskChanges = Type.Object(
  {
    title: Type.Optional(title),
    payload: Type.Optional(payload),
    priority: Type.Optional(priority),
    tags: Type.Optional(tags),
    runAt: Type.Optional(Instant),
    expiresAt: Type.Optional(expiresAt),
  },
  { additionalProperties: false },
)
export type TaskChanges = Static<typeof TaskChanges>

/**
 * A committed change of status. `runAt` comes with RETRYING and SCHEDULED, `result` with COMPLETED, `failure` with
 * FAILED; the other fields of the task follow from the status (see `fold`).
 *
 * Or an edit: the next version in the same status (`from` equals `status`), with `edited` and `changes`. It has no type of its own,
 * so that a client which knows only transitions counts it as the next version and sees no gap.
 */
export const TransitionMessage = Type.Object(
  {
    type: Type.Literal('transition'),
    ...head,
    from: Nullable(Status),
    attempt: Type.Integer({ minimum: 0 }),
    at: Instant,
    reason: Nullable(Type.String()),
    runAt: Type.Optional(Instant),
    result: Type.Optional(Type.Unknown()),
    failure: Type.Optional(Failure),
    edited: Type.Optional(Type.Array(EditedField, { description: 'of an edit: the fields that it changed' })),
    changes: Type.Optional(TaskChanges),
  },
  { additionalProperties: false },
)
export type TransitionMessage = Static<typeof TransitionMessage>

/** The latest progress of the running attempt, at the version it belongs to. */
export const ProgressMessage = Type.Object(
  {
    type: Type.Literal('progress'),
    ...head,
    attempt: Type.Integer({ minimum: 1 }),
    progress: Progress,
  },
  { additionalProperties: false },
)
export type ProgressMessage = Static<typeof ProgressMessage>

/** A line that the handler has logged; only to those who ask with `logs=1`. Not part of the position. */
export const LogMessage = Type.Object(
  { type: Type.Literal('log'), ...head, line: LogLine },
  { additionalProperties: false },
)
export type LogMessage = Static<typeof LogMessage>

/**
 * The connection is alive, and nothing has changed since the last message, whose task, status and version are repeated. Sent when nothing
 * else was for a while, because a page cannot see the pings of a WebSocket. Not part of the position.
 */
export const HeartbeatMessage = Type.Object({ type: Type.Literal('heartbeat'), ...head }, { additionalProperties: false })
export type HeartbeatMessage = Static<typeof HeartbeatMessage>

/** The same on a connection for many tasks, as long as nothing was told of any. */
export const IdleHeartbeat = Type.Object({ type: Type.Literal('heartbeat') }, { additionalProperties: false })
export type IdleHeartbeat = Static<typeof IdleHeartbeat>

export const StreamMessage = Type.Union([SnapshotMessage, ResumedMessage, TransitionMessage, ProgressMessage, LogMessage, HeartbeatMessage])
export type StreamMessage = Static<typeof StreamMessage>

/** What travels between processes: a copy of a row that is already committed. `facts` are for lists, and no part of the message. */
export type Event = (TransitionMessage | ProgressMessage | LogMessage) & { facts?: TaskFacts }

export { CLOSES, shouldReconnect } from '../../public/protocol.js'

/** The codes of `CLOSES`, by name. */
export const CLOSE_CODES = Object.fromEntries(Object.entries(CLOSES).map(([name, { code }]) => [name, code])) as Readonly<Record<keyof typeof CLOSES, number>>
