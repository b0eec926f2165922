/** What a worker and the process of a handler say to each other; structured clones, so times stay times. */
import type { UnstorableError } from '../../definitions/outcome-errors.js'
import type { FieldError } from '../../protocol/errors.js'
import type { Event } from '../../protocol/stream.js'
import type { ClaimedAttempt } from '../../store/attempts/claim.js'
import type { LogReport } from '../../store/attempts/logs.js'
import type { ProgressReport } from '../../store/attempts/progress.js'
import type { AbortReason } from '../../tasks/attempt/outcome.js'

export type ToChild =
  /** `ticks`: say at short intervals that the event loop moves. */
  | { type: 'run'; claimed: ClaimedAttempt; ticks: boolean }
  | { type: 'abort'; reason: AbortReason }
  /** What was reported before is stored. */
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
  /** The handler has committed its task; this is for the watchers. */
  | { type: 'announce'; event: Event }
  /** An error was not caught: no other run may use this process. */
  | { type: 'spoilt' }
  | { type: 'returned'; result: unknown }
  | { type: 'committed' }
  | { type: 'threw'; error: ThrownError }

/** An error as far as it can travel; `kind` is the class that says what follows. */
export interface ThrownError {
  kind: 'RetryLater' | 'PutBack' | 'PermanentFailure' | 'CancelTask' | 'DatabaseAwayError' | 'DiskFullError' | 'UnstorableError' | 'Error'
  name: string
  message: string
  stack?: string | undefined
  delayMs?: number
  code?: UnstorableError['code']
}
