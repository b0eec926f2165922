/** Messages between a worker and the process of a handler. They are structured clones, so dates stay dates. */
import type { UnstorableError } from '../../definitions/outcome-errors.js'
import type { FieldError } from '../../protocol/errors.js'
import type { Event } from '../../protocol/stream.js'
import type { ClaimedAttempt } from '../../store/attempts/claim.js'
import type { LogReport } from '../../store/attempts/logs.js'
import type { ProgressReport } from '../../store/attempts/progress.js'
import type { AbortReason } from '../../tasks/attempt/outcome.js'

export type ToChild =
  /** `ticks`: report at short intervals that the event loop is running. */
  | { type: 'run'; claimed: ClaimedAttempt; ticks: boolean }
  | { type: 'abort'; reason: AbortReason }
  /** Everything reported before is stored. */
  | { type: 'flushed' }

export type FromChild =
  | { type: 'ready' }
  | { type: 'alive' }
  | { type: 'tick' }
  | { type: 'violation'; error: FieldError }
  | { type: 'progress'; report: ProgressReport }
  | { type: 'log'; report: LogReport }
  /** Answered by `flushed`. */
  | { type: 'flush' }
  /** The handler has committed its task; forward this event to the streams. */
  | { type: 'announce'; event: Event }
  /** An error was not caught: no other run may use this process. `endsWorkers`: what it would have done to a worker. */
  | { type: 'spoilt'; endsWorkers?: string }
  | { type: 'returned'; result: unknown }
  | { type: 'committed' }
  | { type: 'threw'; error: ThrownError }

/** The part of an error that can be sent. `kind` is the class, which decides the outcome. */
export interface ThrownError {
  kind:
    | 'RetryLater'
    | 'PutBack'
    | 'PermanentFailure'
    | 'CancelTask'
    | 'DatabaseAwayError'
    | 'DiskFullError'
    | 'UnstorableError'
    | 'Error'
  name: string
  message: string
  stack?: string | undefined
  delayMs?: number
  code?: UnstorableError['code']
}
