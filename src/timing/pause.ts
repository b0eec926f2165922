/** Pauses, such as those between the attempts of a retried operation. */
import { setTimeout as sleep } from 'node:timers/promises'

/** The longest that a timer of Node waits, in milliseconds: 24 days. A longer one fires at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1

export interface Growth {
  firstMs: number
  maxMs: number
  /**
   * Up to this share of each pause is left out at random, so that operations that failed together do not retry
   * together. 0 to 1, default 0.5 ("equal jitter").
   * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
   */
  jitter?: number
}

/**
 * The pause after a number of failures: `firstMs`, doubled with each failure, at most `maxMs`, less the jitter.
 * @param failures from 1
 * @param random 0 to 1
 */
export function growingPauseMs(
  failures: number,
  { firstMs, maxMs, jitter = 0.5 }: Growth,
  random: () => number = Math.random,
): number {
  const wholeMs = Math.min(firstMs * 2 ** Math.min(failures - 1, 52), maxMs)
  return wholeMs * (1 - jitter) + wholeMs * jitter * random()
}

/** @throws RangeError unless it is a finite number */
export function assertMilliseconds(milliseconds: unknown): asserts milliseconds is number {
  if (!Number.isFinite(milliseconds)) throw new RangeError('the time to sleep must be a finite number of milliseconds')
}

/** Resolves after the given time, however long; at once if it is negative. Rejects when the signal aborts. */
export async function sleepFor(milliseconds: number, signal: AbortSignal): Promise<void> {
  assertMilliseconds(milliseconds)
  let leftMs = Math.max(milliseconds, 0)
  for (; leftMs > MAX_TIMER_MS; leftMs -= MAX_TIMER_MS) await sleep(MAX_TIMER_MS, undefined, { signal })
  await sleep(leftMs, undefined, { signal })
}

/** Resolves after the given time, or at once when the signal aborts. Never rejects. */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(milliseconds, undefined, { ...(signal && { signal }) }).catch(() => {})
}
