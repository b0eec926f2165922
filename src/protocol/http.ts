/** Bodies and answers of the REST API. */
import { Type, type Static } from 'typebox'
import {
  MAX_BATCH_TASKS,
  MAX_DELAY_MS,
  MAX_KEY_LENGTH,
  MAX_PRIORITY,
  MAX_TAG_LENGTH,
  MAX_TAGS,
  MAX_TITLE_LENGTH,
} from './limits.js'
import { Key, Reason } from './names.js'
import { Nullable } from './nullable.js'
import { OnFailure } from './release.js'
import { Instant, LogLine, QueueName, TaskId, TaskSummary, TaskType, Transition } from './task.js'

export { MAX_BATCH_BYTES, MAX_BATCH_TASKS, MAX_BODY_BYTES, MAX_BODY_DEPTH, MAX_WAIT_SECONDS } from './limits.js'

/** The default of `maxDelayMs` is ten times `delayMs`, but at most this, and at least `delayMs`. */
export const DEFAULT_MAX_DEBOUNCE_MS = 86_400_000

/** Several creates in a row make one task. */
const Debounce = Type.Object(
  {
    key: { ...Key, description: 'what the creates have in common' },
    delayMs: Type.Integer({
      minimum: 0,
      maximum: MAX_DELAY_MS,
      description: 'the task starts this many milliseconds after the last create with the key',
    }),
    maxDelayMs: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_DELAY_MS,
        description:
          'but at most this many milliseconds after the first create, which decides it; if omitted, ten times delayMs, at most a day, ' +
          'and at least delayMs',
      }),
    ),
    take: Type.Optional(
      Type.Enum(['last', 'merge'], {
        description:
          'last (the default): title, payload, priority, tags and expiresAt are those of the last create. merge: the payload is a JSON ' +
          'merge patch (RFC 7396) of that of the task, and of the others, those given replace those of the task',
      }),
    ),
  },
  {
    additionalProperties: false,
    examples: [{ key: 'document-17', delayMs: 5_000 }],
    description:
      'while a task of this type with this key is SCHEDULED, it is changed and returned, and no other is created; ' +
      'cannot be combined with runAt, delayMs or uniqueKey',
  },
)

/** The request to create a task. `{"title": "example task"}` alone is valid. */
export const CreateTask = Type.Object(
  {
    title: Type.Optional(
      Type.String({ minLength: 1, maxLength: MAX_TITLE_LENGTH, description: 'for people; the type if omitted' }),
    ),
    type: Type.Optional({ ...TaskType, description: 'one of GET /api/types; demo.sleep if omitted' }),
    payload: Type.Optional(
      Type.Unknown({ description: 'the input of the handler; must match the schema of the type' }),
    ),
    priority: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_PRIORITY,
        description: `${MAX_PRIORITY} first, 0 last; the type decides if omitted`,
      }),
    ),
    tags: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: MAX_TAG_LENGTH }), { maxItems: MAX_TAGS })),
    runAt: Type.Optional({ ...Instant, description: 'the earliest start; cannot be combined with delayMs' }),
    delayMs: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_DELAY_MS,
        description: 'milliseconds from now; cannot be combined with runAt',
      }),
    ),
    expiresAt: Type.Optional({ ...Instant, description: 'a task that has not started by this time is EXPIRED' }),
    queue: Type.Optional({
      ...QueueName,
      description: 'selects the workers that run the task; the queue of the type if omitted',
    }),
    uniqueKey: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: MAX_KEY_LENGTH,
        description:
          'while a task of this type with this key has not ended, that task is returned and no other is created',
      }),
    ),
    debounce: Type.Optional(Debounce),
    concurrencyKey: Type.Optional({
      ...Key,
      description: 'what limits per key count, and what gets a fair share: a customer, an account, a document',
    }),
    sequenceKey: Type.Optional({
      ...Key,
      examples: ['document-17'],
      description: 'tasks with the same key run one after the other, in the order of their creation',
    }),
    onFailure: Type.Optional({
      ...OnFailure,
      description:
        'only with sequenceKey: what happens when this task has failed or expired. The tasks behind it wait until a person resumes ' +
        'the sequence (halt, the default), or go on (skip)',
    }),
    cost: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1_000,
        description: 'how much of a rate limit its start takes; 1 if omitted',
      }),
    ),
    callbackUrl: Type.Optional(
      Type.String({
        maxLength: 2_000,
        pattern: '^https?://',
        examples: ['https://example.com/hook'],
        description: 'receives a signed POST when the task has ended',
      }),
    ),
  },
  // Without an example, tools generate one with every field, and so with runAt and delayMs together.
  { additionalProperties: false, examples: [{ title: 'example task' }] },
)
export type CreateTask = Static<typeof CreateTask>

/** All tasks are created, or none. */
export const CreateBatch = Type.Object(
  { tasks: Type.Array(CreateTask, { minItems: 1, maxItems: MAX_BATCH_TASKS }) },
  { additionalProperties: false, examples: [{ tasks: [{ title: 'first task' }, { title: 'second task' }] }] },
)
export type CreateBatch = Static<typeof CreateBatch>

/**
 * The tasks in the order given, without payloads and results. If another unfinished task has the unique key of one,
 * or a SCHEDULED one its debounce key, that task stands in its place.
 */
export const Batch = Type.Object({ batchId: TaskId, items: Type.Array(TaskSummary) })
export type Batch = Static<typeof Batch>

/** The fields that can be changed before a task has started; omitted fields stay as they are. */
export const EditTask = Type.Object(
  {
    title: Type.Optional(CreateTask.properties.title),
    payload: Type.Optional(Type.Unknown({ description: 'the whole payload; must match the schema of the type' })),
    priority: Type.Optional(CreateTask.properties.priority),
    tags: Type.Optional(CreateTask.properties.tags),
    runAt: Type.Optional({ ...Instant, description: 'only for a SCHEDULED task' }),
    expiresAt: Type.Optional(Nullable(Instant)),
  },
  { additionalProperties: false, minProperties: 1 },
)
export type EditTask = Static<typeof EditTask>

/** How to cancel a task. No body means the defaults. */
export const CancelRequest = Type.Object(
  {
    reason: Type.Optional({ ...Reason, description: 'for people; stored with the transition' }),
    children: Type.Optional(
      Type.Boolean({ default: false, description: 'also cancel the tasks that this one has created, recursively' }),
    ),
  },
  { additionalProperties: false },
)
export type CancelRequest = Static<typeof CancelRequest>

/** An attempt that has ended, or the running one, which has no end yet. */
export const Attempt = Type.Object(
  {
    attempt: Type.Integer({ minimum: 1 }),
    worker: Type.String(),
    startedAt: Instant,
    finishedAt: Nullable(Instant),
    outcome: Type.Enum(['running', 'completed', 'failed', 'released', 'lost', 'cancelled']),
    error: Nullable(Type.Object({ name: Type.String(), message: Type.String() })),
  },
  { additionalProperties: false },
)
export type Attempt = Static<typeof Attempt>
/** `nextAfter` is null on the last page. */
export const AttemptList = Type.Object({
  items: Type.Array(Attempt),
  nextAfter: Nullable(Type.Integer()),
})
export type AttemptList = Static<typeof AttemptList>

/** Newest first. `nextCursor` is null on the last page; an earlier page may hold fewer items than `limit`, or none. */
export const TaskPage = Type.Object({
  items: Type.Array(TaskSummary),
  nextCursor: Nullable(Type.String()),
})
export type TaskPage = Static<typeof TaskPage>

/** The stored transitions of a task, oldest first. `nextSince` is null on the last page. */
export const TransitionList = Type.Object({
  items: Type.Array(Transition),
  nextSince: Nullable(Type.Integer()),
})
export type TransitionList = Static<typeof TransitionList>

/** The stored log lines of a task, oldest first. `nextAfter` is null on the last page. */
export const LogPage = Type.Object({ items: Type.Array(LogLine), nextAfter: Nullable(Type.Integer()) })
export type LogPage = Static<typeof LogPage>

/** The stored transitions of several tasks, oldest first. `nextCursor` is null on the last page. */
export const SelectionTransitionList = Type.Object({
  items: Type.Array(Type.Object({ taskId: TaskId, ...Transition.properties })),
  nextCursor: Nullable(Type.String()),
})
export type SelectionTransitionList = Static<typeof SelectionTransitionList>

/** A type of task: what it does and the JSON Schemas of its payload and result. */
export const TypeInfo = Type.Object({
  type: TaskType,
  title: Type.String(),
  description: Type.String(),
  isDefault: Type.Boolean({ description: 'the type of a task that is created without a type' }),
  isInternal: Type.Boolean({ description: 'whether only the server can create or edit tasks of this type' }),
  queue: QueueName,
  attempts: Type.Integer({ minimum: 1 }),
  isolation: Type.Enum(['none', 'process']),
  timeLimits: Type.Object({
    softMs: Type.Optional(Type.Integer()),
    hardMs: Type.Optional(Type.Integer()),
    heartbeatMs: Type.Optional(Type.Integer()),
  }),
  payload: Type.Unknown({ description: 'JSON Schema' }),
  result: Type.Unknown({ description: 'JSON Schema' }),
  progress: Type.Unknown({ description: 'JSON Schema of `progress.data`; null if there is none' }),
})
export type TypeInfo = Static<typeof TypeInfo>
export const TypeList = Type.Object({ items: Type.Array(TypeInfo) })
export type TypeList = Static<typeof TypeList>

export const Health = Type.Object({ status: Type.Literal('ok') })

const Check = Type.Object({
  status: Type.Enum(['ok', 'failed']),
  detail: Type.Optional(Type.String()),
})

/** `low`: uploads and files of tasks are refused. */
const DiskCheck = Type.Object({ status: Type.Enum(['ok', 'low']), detail: Type.Optional(Type.String()) })

/**
 * Readiness, tested by a round trip to each service. 200 if all are ok, also while a disk is too full for files
 * (`degraded`); otherwise 503.
 */
export const Readiness = Type.Object({
  status: Type.Enum(['ok', 'degraded', 'failed', 'stopping']),
  checks: Type.Object({ postgres: Check, broker: Check, disk: DiskCheck }),
})
export type Readiness = Static<typeof Readiness>

/** The body of answers such as 204 and 304. */
export const NoBody = Type.Unsafe<undefined>({ type: 'null', description: 'no body' })
