/** Decides when the next attempt begins after a failed one. */
import { types } from 'node:util'
import { growingPauseMs } from '../timing/pause.js'
import { describeError } from './thrown.js'

/**
 * - `exponential`: `firstMs`, doubled with each failure up to `maxMs`. A random part of up to half is left out ("equal
 *   jitter"), so that tasks which failed together do not retry together.
 * - `fixed`: always `delayMs`.
 * - A function of the number of failures so far (from 1) and the last thrown error. It returns milliseconds, 0 or more,
 *   and is not awaited. If it returns anything else or throws, the default backoff is used and the worker logs a
 *   warning.
 *
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export type Backoff =
  | { readonly kind: 'exponential'; readonly firstMs?: number; readonly maxMs?: number }
  | { readonly kind: 'fixed'; readonly delayMs: number }
  | ((failures: number, error: unknown) => number)

export const DEFAULT_BACKOFF = { kind: 'exponential', firstMs: 1_000, maxMs: 3_600_000 } as const
/** The longest pause, whatever the backoff returns. */
export const MAX_BACKOFF_MS = 30 * 86_400_000

/** Receives a warning about a delay that is not used as given: what it was, and what is used instead. */
export type Warn = (message: string) => void

/**
 * Calculates the delay. If the backoff gives none (a finite number of milliseconds, 0 or more), `warn` is called and
 * the default backoff is used.
 * @param random 0 to 1
 * @param warn called for a delay that is not used as given
 */
export function backoffMs(
  backoff: Backoff,
  failures: number,
  error: unknown,
  random: () => number = Math.random,
  warn: Warn = () => {},
): number {
  const { value, problem } = pick(backoff, failures, error, random)
  if (problem === undefined && isDelay(value)) return capDelay(value, 'the backoff', warn)
  warn(
    `the backoff ${problem ?? `gave ${describeDelay(value)}`} instead of a number of milliseconds, 0 or more; the default backoff is used`,
  )
  return capDelay(exponential(DEFAULT_BACKOFF, failures, random), 'the backoff', warn)
}

/** Whether the value is a finite number of milliseconds, 0 or more. */
export function isDelay(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

/** Rounds to whole milliseconds, at most `MAX_BACKOFF_MS`. */
export function capDelay(delayMs: number, whose: string, warn: Warn): number {
  if (delayMs > MAX_BACKOFF_MS)
    warn(`${whose} asked for ${delayMs} ms; the longest pause is ${MAX_BACKOFF_MS} ms (30 days), which is used instead`)
  return Math.round(Math.min(delayMs, MAX_BACKOFF_MS))
}

/** Describes a value given instead of a delay. Never throws. */
export function describeDelay(given: unknown): string {
  if (typeof given === 'number' || given === undefined || given === null) return String(given)
  if (types.isPromise(given)) return 'a promise (it is called without awaiting)'
  if (types.isDate(given)) return 'a Date'
  return typeof given === 'object' ? 'an object' : `a ${typeof given}`
}

/** A function that throws must not cost the attempt its outcome. */
function pick(
  backoff: Backoff,
  failures: number,
  error: unknown,
  random: () => number,
): { value?: unknown; problem?: string } {
  if (typeof backoff === 'object' && backoff.kind === 'fixed') return { value: backoff.delayMs }
  if (typeof backoff === 'object') return { value: exponential(backoff, failures, random) }
  try {
    return { value: backoff(failures, error) }
  } catch (thrown) {
    return { problem: `threw an error (${describeError(thrown).message})` }
  }
}

function exponential(
  { firstMs = DEFAULT_BACKOFF.firstMs, maxMs = DEFAULT_BACKOFF.maxMs }: { firstMs?: number; maxMs?: number },
  failures: number,
  random: () => number,
): number {
  return growingPauseMs(failures, { firstMs, maxMs }, random)
}
