/** Workers as an operator sees them: who they are, what they serve, what is free, and what lacks a worker. */
import { Type, type Static } from 'typebox'
import { Reason } from './names.js'
import { Nullable } from './nullable.js'
import { Instant, QueueName, TaskType } from './task.js'
import { STORABLE_TEXT } from './storable.js'

const WorkerId = Type.String({
  maxLength: 300,
  pattern: STORABLE_TEXT,
  examples: ['host-a-4711-0f3a9c2e'],
  description: 'the name that its attempts record',
})

/** A queue that a worker serves. */
export const WorkerQueue = Type.Object({
  name: QueueName,
  slots: Type.Integer({ minimum: 0, description: 'the most attempts that the worker runs at a time' }),
  running: Type.Integer({ minimum: 0 }),
})
export type WorkerQueue = Static<typeof WorkerQueue>

/**
 * How attempts of a type have ended in a worker within the last `ageMs` milliseconds: of `ended`, `failed` failed for the
 * same reason.
 */
export interface TypeOutcomes {
  type: string
  ageMs: number
  ended: number
  failed: number
  reason: string
}

/**
 * - `running`: takes tasks.
 * - `draining`: takes no more tasks, and finishes those that it runs.
 * - `drained`: takes no tasks, and runs none.
 * - `stopping`: was told to end, and gives its attempts a grace period.
 * - `lost`: has sent no heartbeat for the length of its lease. Its attempts are put back.
 */
const WORKER_STATES = ['running', 'draining', 'drained', 'stopping', 'lost'] as const

/** Who asked a worker to drain, and why. */
const Drain = Type.Object({
  at: Instant,
  by: Type.String(),
  reason: Nullable(Type.String()),
})

/** A worker process. */
export const Worker = Type.Object({
  id: WorkerId,
  state: Type.Enum(WORKER_STATES),
  host: Type.String(),
  pid: Type.Integer(),
  version: Type.String({ description: 'of Taskwire' }),
  startedAt: Instant,
  seenAt: { ...Instant, description: 'its last heartbeat, by the clock of PostgreSQL' },
  queues: Type.Array(WorkerQueue),
  types: Type.Array(TaskType, { description: 'the types that it has handlers for' }),
  running: Type.Integer({ minimum: 0, description: 'the attempts that it runs now' }),
  drain: Nullable(Drain),
})
export type Worker = Static<typeof Worker>

/** A queue over all workers that take tasks. */
export const QueueCapacity = Type.Object({
  name: QueueName,
  workers: Type.Integer({ minimum: 0, description: 'how many take tasks from it' }),
  slots: Type.Integer({ minimum: 0 }),
  running: Type.Integer({ minimum: 0 }),
  free: Type.Integer({ minimum: 0, description: 'how many tasks could start now' }),
  hasWaiting: Type.Boolean({ description: 'whether tasks wait in it, or for a later start' }),
})
export type QueueCapacity = Static<typeof QueueCapacity>

/** A type whose tasks run in processes of their own, because one of them has ended its process. */
export const QuarantinedType = Type.Object({
  type: TaskType,
  reason: Type.String({ description: 'what the handler did' }),
  since: Instant,
  until: Instant,
})
export type QuarantinedType = Static<typeof QuarantinedType>

/** The workers, newest first and lost ones last, and what follows for queues and types. */
export const WorkerList = Type.Object({
  items: Type.Array(Worker),
  queues: Type.Array(QueueCapacity, { description: 'those that a worker serves or in which tasks wait' }),
  typesWithoutWorker: Type.Array(TaskType, {
    description:
      'types that this server accepts and for which no worker that takes tasks has a handler: their tasks wait',
  }),
  quarantinedTypes: Type.Array(QuarantinedType),
})
export type WorkerList = Static<typeof WorkerList>

/** Why a worker drains. No body means no reason. */
export const DrainRequest = Type.Object(
  {
    reason: Type.Optional({ ...Reason, description: 'for people; shown with the worker' }),
  },
  { additionalProperties: false },
)
export type DrainRequest = Static<typeof DrainRequest>

export const WorkerParams = Type.Object({ id: WorkerId })
