/** The task as every client sees it, over REST and on a stream. */
import { Type, type Static } from 'typebox'
import { linkTo } from './base-path.js'
import { MAX_LOG_TEXT_LENGTH, MAX_PRIORITY, MAX_PROGRESS_MESSAGE_LENGTH } from './limits.js'
import { Instant, QueueName, TaskId, TaskType } from './names.js'
import { Nullable } from './nullable.js'
import { OnFailure } from './release.js'
import { Status } from './status.js'
import { WaitingFor } from './waiting.js'

export { FIRST_INSTANT, Instant, LAST_INSTANT, QueueName, TaskId, TaskType } from './names.js'

/**
 * The progress that a running attempt has reported. A hint: the latest value is stored, intermediate values may be
 * skipped, and it has no version of its own.
 */
export const Progress = Type.Object(
  {
    fraction: Nullable(Type.Number({ minimum: 0, maximum: 1, description: '0 to 1; null when the total is unknown' })),
    done: Nullable(Type.Number({ minimum: 0 })),
    total: Nullable(Type.Number({ minimum: 0 })),
    message: Nullable(Type.String({ maxLength: MAX_PROGRESS_MESSAGE_LENGTH })),
    data: Type.Optional(
      Type.Unknown({ description: 'further data from the handler, matching the progress schema of its type' }),
    ),
    perSecond: Type.Optional(
      Type.Number({
        minimum: 0,
        description: 'units done per second since the first report of the attempt; omitted if unknown',
      }),
    ),
    remainingMs: Type.Optional(
      Type.Integer({ minimum: 0, description: 'the remaining time at that rate; omitted if unknown' }),
    ),
    at: Instant,
  },
  { additionalProperties: false },
)
export type Progress = Static<typeof Progress>

/** A log line of a handler. `seq` orders the lines of a task; it has gaps. */
export const LogLine = Type.Object(
  {
    seq: Type.Integer({ minimum: 1 }),
    attempt: Type.Integer({ minimum: 1 }),
    at: Instant,
    level: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']),
    text: Type.String({ maxLength: MAX_LOG_TEXT_LENGTH }),
  },
  { additionalProperties: false },
)
export type LogLine = Static<typeof LogLine>

/** The codes of a failure; the message explains it in words. */
export const FailureCode = Type.Enum([
  'error',
  'permanent',
  'invalid_payload',
  'invalid_result',
  'invalid_effect',
  'unknown_type',
  'no_worker_for_type',
  'worker_lost',
  'time_limit',
  'no_heartbeat',
  'memory_limit',
  'process_died',
  'disk_full',
  'put_back',
])
export type FailureCode = Static<typeof FailureCode>

/** Why a task is FAILED. */
export const Failure = Type.Object(
  {
    code: FailureCode,
    message: Type.String(),
    attempt: Type.Integer({ minimum: 0 }),
  },
  { additionalProperties: false },
)
export type Failure = Static<typeof Failure>

/** The slot of a schedule that a task was created for. */
export const TaskSlot = Type.Object(
  {
    name: Type.String({ description: 'of the schedule' }),
    slot: { ...Instant, description: 'when it was due' },
    previousSlot: Nullable({ ...Instant, description: 'the last slot before it that has a task' }),
  },
  { additionalProperties: false },
)
export type TaskSlot = Static<typeof TaskSlot>

/** Where to read, watch and view the task: paths on the server that answered. */
export const TaskLinks = Type.Object(
  {
    self: Type.String({ examples: ['/api/tasks/019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'] }),
    events: Type.String({ description: 'the stored transitions' }),
    stream: Type.String({ description: 'the WebSocket path' }),
    page: Type.String({ description: 'the status page' }),
  },
  { additionalProperties: false },
)

/** What is known of a task, wherever it is shown. */
const OF_TASK = {
  id: TaskId,
  title: Type.String(),
  type: TaskType,
  status: Status,
  version: Type.Integer({ minimum: 1, description: 'counts the transitions and edits, +1 each, no gaps' }),
  attempt: Type.Integer({
    minimum: 0,
    description: 'the number of the current or last run, from 1; 0 before the first',
  }),
  maxAttempts: Type.Integer({
    minimum: 1,
    description: 'the number of failed attempts after which the task is FAILED',
  }),
  queue: QueueName,
  priority: Type.Integer({ minimum: 0, maximum: MAX_PRIORITY }),
  tags: Type.Array(Type.String()),
  payload: Type.Unknown(),
  progress: Nullable(Progress),
  result: Type.Unknown({ description: 'the return value of the handler; null until COMPLETED' }),
  failure: Nullable(Failure),
  runAt: Nullable(Instant),
  expiresAt: Nullable({ ...Instant, description: 'a task that has not started by this time is EXPIRED' }),
  createdAt: Instant,
  startedAt: Nullable(Instant),
  finishedAt: Nullable(Instant),
  uniqueKey: Nullable(Type.String({ description: 'unique among the unfinished tasks of the type' })),
  parentId: Nullable({ ...TaskId, description: 'the task whose handler created this one' }),
  batchId: Nullable({ ...TaskId, description: 'the batch in which the task was created' }),
  callbackUrl: Nullable(Type.String({ description: 'receives a POST when the task has ended' })),
  concurrencyKey: Nullable(Type.String({ description: 'what limits per key count' })),
  sequenceKey: Nullable(Type.String({ description: 'tasks with the same key run one after the other' })),
  onFailure: Nullable({
    ...OnFailure,
    description: 'whether its failure halts its sequence; null without a sequence key',
  }),
  cost: Type.Integer({ description: 'how many starts it counts as in a limit of starts per period' }),
  schedule: Nullable(TaskSlot),
  links: TaskLinks,
}

/** The whole task. `version` is its position in the stream of transitions. */
export const Task = Type.Object(
  {
    ...OF_TASK,
    waitingFor: Type.Optional(
      Type.Union([WaitingFor, Type.Null()], {
        description: 'why it does not run; null when it waits for nothing. Only in the answer to a read of one task',
      }),
    ),
  },
  { additionalProperties: false },
)
export type Task = Static<typeof Task>

const { payload, result, ...summary } = OF_TASK
/** A task in a list: without payload and result, unless the request asks for them. */
export const TaskSummary = Type.Object(
  { ...summary, payload: Type.Optional(payload), result: Type.Optional(result) },
  { additionalProperties: false },
)
export type TaskSummary = Static<typeof TaskSummary>

/** The fields that an edit can change. */
export const EditedField = Type.Enum(['title', 'payload', 'priority', 'tags', 'runAt', 'expiresAt'])
export type EditedField = Static<typeof EditedField>

/**
 * A committed change: of the status, or an edit, which keeps the status (`from` equals `status`) and names the changed
 * fields.
 */
export const Transition = Type.Object(
  {
    version: Type.Integer({ minimum: 1 }),
    from: Nullable(Status),
    status: Status,
    attempt: Type.Integer({ minimum: 0 }),
    at: Instant,
    reason: Nullable(Type.String()),
    edited: Type.Optional(Type.Array(EditedField, { description: 'for an edit: the changed fields' })),
  },
  { additionalProperties: false },
)
export type Transition = Static<typeof Transition>

/** The paths of a task. */
export function linksOf(id: TaskId): Static<typeof TaskLinks> {
  return {
    self: linkTo(`/api/tasks/${id}`),
    events: linkTo(`/api/tasks/${id}/events`),
    stream: linkTo(`/ws/tasks/${id}`),
    page: linkTo(`/tasks/${id}`),
  }
}
