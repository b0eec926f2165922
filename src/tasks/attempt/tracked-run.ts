/** A run whose lease the worker renews. */
import type { AbortReason } from './outcome.js'

export interface TrackedRun {
  readonly signal: AbortSignal
  abort(reason: AbortReason): void
  /** The handler has finished; its outcome is about to be recorded. */
  ending(): void
  /** The run is over. Must be called. */
  end(): void
}

/**
 * Whether the worker gave the run up because its lease may have expired. What the handler throws then says nothing about
 * the task: most of the time it is the abort itself. The attempt counts as lost, and the relay rescues it.
 */
export function hasLostLease(signal: AbortSignal): boolean {
  return signal.aborted && signal.reason === ('lease lost' satisfies AbortReason)
}
