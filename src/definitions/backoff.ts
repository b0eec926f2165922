/** When the next attempt begins after one that failed. */
import { types } from 'node:util'
import { growingPauseMs } from '../timing/pause.js'
import { describeError } from './thrown.js'

/**
 * - `exponential`: `firstMs`, doubled with each failure up to `maxMs`, of which a random half is left out ("equal jitter"),
 *   so that tasks which failed together do not come back together.
 * - `fixed`: always `delayMs`.
 * - A function of the number of failures so far (from 1) and what was thrown last; milliseconds, 0 or more. It is not awaited. For anything else
 *   that it gives, and when it throws, the default backoff is used, and the log of the worker says so.
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

/** Told of a delay that is not used as it was given: what it was, and what is used instead. */
export type Warn = (message: string) => void

/**
 * A backoff that gives no delay (a number of milliseconds, 0 or more, that is finite) is told to `warn`, and the default one takes its place.
 * @param random 0 to 1
 * @param warn for a delay that is not used as it was given
 */
export function backoffMs(backoff: Backoff, failures: number, error: unknown, random: () => number = Math.random, warn: Warn = () => {}): number {
  const { value, problem } = pick(backoff, failures, error, random)
  if (problem === undefined && isDelay(value)) return capDelay(value, 'the backoff', warn)
  warn(`the backoff ${problem ?? `gave ${describeDelay(value)}`} instead of milliseconds, 0 or more; the default backoff is used`)
  return capDelay(exponential(DEFAULT_BACKOFF, failures, random), 'the backoff', warn)
}

/** Milliseconds that can be waited. */
export function isDelay(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

/** Whole milliseconds, `MAX_BACKOFF_MS` at most. */
export function capDelay(delayMs: number, whose: string, warn: Warn): number {
  if (delayMs > MAX_BACKOFF_MS) warn(`${whose} asked for ${delayMs} ms; the longest pause is ${MAX_BACKOFF_MS} ms (30 days), and that is used`)
  return Math.round(Math.min(delayMs, MAX_BACKOFF_MS))
}

/** What was given where a delay was due. Never throws. */
export function describeDelay(given: unknown): string {
  if (typeof given === 'number' || given === undefined || given === null) return String(given)
  if (types.isPromise(given)) return 'a promise (it is called without awaiting)'
  if (types.isDate(given)) return 'a Date'
  return typeof given === 'object' ? 'an object' : `a ${typeof given}`
}

/** A function that throws is no reason to lose the outcome of the attempt. */
function pick(backoff: Backoff, failures: number, error: unknown, random: () => number): { value?: unknown; problem?: string } {
  if (typeof backoff === 'object' && backoff.kind === 'fixed') return { value: backoff.delayMs }
  if (typeof backoff === 'object') return { value: exponential(backoff, failures, random) }
  try {
    return { value: backoff(failures, error) }
  } catch (thrown) {
    return { problem: `threw an error (${describeError(thrown).message})` }
  }
}

function exponential({ firstMs = DEFAULT_BACKOFF.firstMs, maxMs = DEFAULT_BACKOFF.maxMs }: { firstMs?: number; maxMs?: number }, failures: number, random: () => number): number {
  return growingPauseMs(failures, { firstMs, maxMs }, random)
}
