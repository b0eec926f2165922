/** When the next attempt begins after one that failed. */
import { growingPauseMs } from '../timing/pause.js'

/**
 * - `exponential`: `firstMs`, doubled with each failure up to `maxMs`, of which a random half is left out ("equal jitter"),
 *   so that tasks which failed together do not come back together.
 * - `fixed`: always `delayMs`.
 * - A function of the number of failures so far (from 1) and what was thrown last; milliseconds.
 *
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export type Backoff =
  | { readonly kind: 'exponential'; readonly firstMs?: number; readonly maxMs?: number }
  | { readonly kind: 'fixed'; readonly delayMs: number }
  | ((failures: number, error: unknown) => number)

export const DEFAULT_BACKOFF = { kind: 'exponential', firstMs: 1_000, maxMs: 3_600_000 } as const
/** The longest pause, whatever the backoff says. */
export const MAX_BACKOFF_MS = 30 * 86_400_000

/** @param random 0 to 1 */
export function backoffMs(backoff: Backoff, failures: number, error: unknown, random: () => number = Math.random): number {
  return boundDelay(pick(backoff, failures, error, random))
}

/** Within 0 and `MAX_BACKOFF_MS`; the longest where it is no number. */
export function boundDelay(delayMs: number): number {
  return Number.isFinite(delayMs) ? Math.round(Math.min(Math.max(delayMs, 0), MAX_BACKOFF_MS)) : MAX_BACKOFF_MS
}

function pick(backoff: Backoff, failures: number, error: unknown, random: () => number): number {
  if (typeof backoff === 'function') return callBackoff(backoff, failures, error, random)
  if (backoff.kind === 'fixed') return backoff.delayMs
  const { firstMs = DEFAULT_BACKOFF.firstMs, maxMs = DEFAULT_BACKOFF.maxMs } = backoff
  return growingPauseMs(failures, { firstMs, maxMs }, random)
}

/** A function that throws, or returns no number, is no reason to lose the outcome of the attempt. */
function callBackoff(backoff: Extract<Backoff, (...args: never[]) => unknown>, failures: number, error: unknown, random: () => number): number {
  try {
    const delayMs: unknown = backoff(failures, error)
    if (typeof delayMs === 'number') return delayMs
  } catch {
    // As below.
  }
  return pick(DEFAULT_BACKOFF, failures, error, random)
}
