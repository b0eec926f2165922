/**
 * The interface of `runAttempt` to handlers that run in processes of their own, provided by the worker. The payload is
 * checked there too, so no code of the task runs in the worker.
 */
import type { FieldError } from '../../protocol/errors.js'
import { PROCESS_LOST, type ClaimedAttempt } from '../../store/attempts/claim.js'

export interface IsolatedRun {
  claimed: ClaimedAttempt
  signal: AbortSignal
  /** Called when the handler begins, which may be after a wait for a process. */
  begin(): void
  /** Called at each heartbeat. */
  alive(): void
  /** Called when the handler has done what would have ended the process of a worker. */
  endsWorkers(reason: string): void
  /** An earlier worker of the task was lost, or its type is quarantined. Its memory is limited, even if its type sets no limit. */
  isSuspect: boolean
  /** Use a process that runs nothing else before or after. */
  isFresh: boolean
  /**
   * Whether the handler may compute without a pause. Otherwise it is killed when it has done so for the length of a
   * lease.
   */
  mayBlock: boolean
  /** The limit of its type, in MB. */
  memoryLimitMb: number | undefined
}

/**
 * `committed`: together with its own rows, by `transaction`. `violation`: the payload does not fit its schema, and
 * nothing was run.
 */
export type IsolatedEnd =
  { kind: 'returned'; result: unknown } | { kind: 'committed' } | { kind: 'violation'; error: FieldError }

export interface IsolatedRuns {
  /** `ended` rejects with the handler's error, or with `ProcessEndedError`. `kill` ends the process at once. */
  start(run: IsolatedRun): { ended: Promise<IsolatedEnd>; kill(): void }
}

/** The process of a handler ended during its run. */
export class ProcessEndedError extends Error {
  override readonly name = PROCESS_LOST
  constructor(
    readonly code: 'process_died' | 'memory_limit',
    message: string,
    /** The process had run nothing else before, so this run ended it. */
    readonly isProven = true,
  ) {
    super(message)
  }
}
