/**
 * The messages of a stream: what one WebSocket sends about one task.
 *
 * Every message is a JSON object with `type`, `taskId`, `status` and `version`, so a client that reads only
 * `JSON.parse(e.data).status` works.
 *
 * - Without `since`: one `snapshot` (the whole task), then everything that happens after it.
 * - With `since=<version>`: `resumed`, then each missed `transition`, then everything that happens after it. If the
 *   task never reached that position, the answer is a `snapshot` with `reset: true`.
 * - A `heartbeat` when nothing else was sent for up to 15 s (`STREAM_HEARTBEAT_SECONDS`).
 * - While the task waits, `waiting` says for what, at most every 2 s; null when it has started.
 * - With `logs=1` also the latest stored log lines of the handler, and each new one.
 * - After a final status the server closes with 1000.
 */
import { Type, type Static } from 'typebox'
import { CLOSES } from '../../public/protocol.js'
import type { TaskFacts } from './notice.js'
import { Nullable } from './nullable.js'
import { Status } from './status.js'
import { EditedField, Failure, Instant, LogLine, Progress, Task, TaskId } from './task.js'
import { WaitingFor } from './waiting.js'

const Version = Type.Integer({ minimum: 0 })
const head = { taskId: TaskId, status: Status, version: Version }

/** The whole task at `version`. It replaces the client's copy. */
export const SnapshotMessage = Type.Object(
  {
    type: Type.Literal('snapshot'),
    ...head,
    task: Task,
    reset: Type.Optional(
      Type.Literal(true, { description: 'the requested position is unknown here; start over from this snapshot' }),
    ),
  },
  { additionalProperties: false },
)
export type SnapshotMessage = Static<typeof SnapshotMessage>

/** The position given as `since` is known; every transition after it follows, one by one. */
export const ResumedMessage = Type.Object({ type: Type.Literal('resumed'), ...head }, { additionalProperties: false })
export type ResumedMessage = Static<typeof ResumedMessage>

const { title, payload, priority, tags, expiresAt } = Task.properties

/**
 * The new values of the fields that an edit changed. Values that a later edit has replaced are left out when the edit
 * is read later.
 */
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
 * A committed status change. `runAt` comes with RETRYING and SCHEDULED, `result` with COMPLETED, `failure` with FAILED;
 * the other fields of the task follow from the status (see `fold`).
 *
 * Or an edit: the next version in the same status (`from` equals `status`), with `edited` and `changes`. It has no type
 * of its own, so a client that knows only transitions counts it as the next version and sees no gap.
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
    edited: Type.Optional(Type.Array(EditedField, { description: 'for an edit: the changed fields' })),
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

/**
 * Why the task does not run yet, after the snapshot and when that changes; null when it has started. A hint: it has no
 * version of its own, and the latest replaces the earlier ones.
 */
export const WaitingMessage = Type.Object(
  { type: Type.Literal('waiting'), ...head, waitingFor: Nullable(WaitingFor) },
  { additionalProperties: false },
)
export type WaitingMessage = Static<typeof WaitingMessage>

/** A log line of the handler, sent only with `logs=1`. Not part of the position. */
export const LogMessage = Type.Object(
  { type: Type.Literal('log'), ...head, line: LogLine },
  { additionalProperties: false },
)
export type LogMessage = Static<typeof LogMessage>

/**
 * The connection is alive and nothing has changed since the last message, whose task, status and version are repeated.
 * Sent when nothing else was sent for a while, because a page cannot see the pings of a WebSocket. Not part of the
 * position.
 */
export const HeartbeatMessage = Type.Object(
  { type: Type.Literal('heartbeat'), ...head },
  { additionalProperties: false },
)
export type HeartbeatMessage = Static<typeof HeartbeatMessage>

/** The heartbeat of a connection for many tasks before its first message about a task. */
export const IdleHeartbeat = Type.Object({ type: Type.Literal('heartbeat') }, { additionalProperties: false })
export type IdleHeartbeat = Static<typeof IdleHeartbeat>

export const StreamMessage = Type.Union([
  SnapshotMessage,
  ResumedMessage,
  TransitionMessage,
  ProgressMessage,
  WaitingMessage,
  LogMessage,
  HeartbeatMessage,
])
export type StreamMessage = Static<typeof StreamMessage>

/**
 * The message between processes: a copy of a row that is already committed. `facts` are for lists, and `tenant` is the
 * owner of the task (the default tenant if absent). Neither is part of the message to clients.
 */
export type Event = (TransitionMessage | ProgressMessage | LogMessage) & { facts?: TaskFacts; tenant?: string }

export { CLOSES, shouldReconnect } from '../../public/protocol.js'

/** The codes of `CLOSES`, by name. */
export const CLOSE_CODES = Object.fromEntries(
  Object.entries(CLOSES).map(([name, { code }]) => [name, code]),
) as Readonly<Record<keyof typeof CLOSES, number>>
