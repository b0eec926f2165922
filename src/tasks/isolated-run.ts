/** What `runAttempt` asks of handlers that run in processes of their own; the worker provides it. */
import type { ClaimedAttempt } from './store/index.js'

export interface IsolatedRun {
  claimed: ClaimedAttempt
  /** With the defaults of its schema filled in. */
  payload: unknown
  signal: AbortSignal
  /** Called at each sign of life. */
  alive(): void
  /** Of its type; in MB. */
  memoryLimitMb: number | undefined
}

/** `committed`: with its own rows, by `transaction`. */
export type IsolatedEnd = { kind: 'returned'; result: unknown } | { kind: 'committed' }

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
  ) {
    super(message)
  }
}
