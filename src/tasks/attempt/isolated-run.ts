/**
 * What `runAttempt` asks of handlers that run in processes of their own; the worker provides it. The payload is checked there, too:
 * nothing that belongs to the task is done in the worker.
 */
import type { FieldError } from '../../protocol/errors.js'
import type { ClaimedAttempt } from '../../store/attempts/claim.js'

export interface IsolatedRun {
  claimed: ClaimedAttempt
  signal: AbortSignal
  /** Called when the handler begins: there may be a wait for a process before. */
  begin(): void
  /** Called at each sign of life. */
  alive(): void
  /** Its worker was lost before. Its memory has a limit, whatever its type says. */
  isSuspect: boolean
  /** In a process that has run nothing else before, and runs nothing else after. */
  isFresh: boolean
  /** Whether the handler may compute without a pause. Otherwise it is ended when it has done so for as long as a lease. */
  mayBlock: boolean
  /** Of its type; in MB. */
  memoryLimitMb: number | undefined
}

/** `committed`: with its own rows, by `transaction`. `violation`: the payload does not fit its schema, and nothing was run. */
export type IsolatedEnd = { kind: 'returned'; result: unknown } | { kind: 'committed' } | { kind: 'violation'; error: FieldError }

export interface IsolatedRuns {
  /** `ended` rejects with what the handler threw, or with `ProcessEndedError`. `kill` ends the process, whatever it does. */
  start(run: IsolatedRun): { ended: Promise<IsolatedEnd>; kill(): void }
}

/** The process of a handler ended under it. */
export class ProcessEndedError extends Error {
  override readonly name = 'ProcessEndedError'
  constructor(
    readonly code: 'process_died' | 'memory_limit',
    message: string,
    /** It had run nothing else before, so that this run ended it. */
    readonly isProven = true,
  ) {
    super(message)
  }
}
