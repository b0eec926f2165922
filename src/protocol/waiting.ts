/** Why a task waits. */
import { Type, type Static } from 'typebox'
import { Instant, TaskId } from './names.js'
import { Nullable } from './nullable.js'

/**
 * Why a task does not run:
 *
 * - `run_time`: its time to start has not come.
 * - `backoff`: its last attempt failed or was put back; the next is due later.
 * - `no_worker_for_queue`, `no_worker_for_type`: no worker that takes tasks serves its queue, or knows its type.
 * - `paused`: its queue, type, tenant or key is paused.
 * - `limit`: as many tasks run as a limit allows.
 * - `rate`: as many tasks have started as a limit allows for now.
 * - `sequence`: a task ahead of it in its sequence has not ended.
 * - `sequence_halted`: a task ahead of it in its sequence has failed or expired.
 * - `turn`: all slots are taken, or others are ahead of it.
 * - `starting`: it is on its way to a worker.
 */
export const WAITING_CODES = [
  'run_time',
  'backoff',
  'no_worker_for_queue',
  'no_worker_for_type',
  'paused',
  'limit',
  'rate',
  'sequence',
  'sequence_halted',
  'turn',
  'starting',
] as const
export const WaitingCode = Type.Enum(WAITING_CODES)
export type WaitingCode = Static<typeof WaitingCode>

/** When the task may start: the most likely time, and a range that holds for 8 of 10 tasks. */
const StartEstimate = Type.Object({
  at: Instant,
  earliestAt: Instant,
  latestAt: Instant,
})

/** What a task waits for. */
export const WaitingFor = Type.Object({
  code: WaitingCode,
  text: Type.String({ description: 'in words, e.g. "the type report.generate is paused by anna: mail server moves"' }),
  until: Nullable({ ...Instant, description: 'when the reason ends, if that is known' }),
  taskIds: Type.Array(TaskId, { description: 'the tasks that hold it, at most 5' }),
  ahead: Nullable(
    Type.Integer({ minimum: 0, description: 'about how many tasks are ahead of it; null where that means nothing' }),
  ),
  start: Nullable(StartEstimate),
})
export type WaitingFor = Static<typeof WaitingFor>
