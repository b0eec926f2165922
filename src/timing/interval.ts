/** Repeats work at a fixed interval. */

export interface IntervalOptions {
  everyMs: number
  /** Must not throw. */
  onError(error: unknown): void
  /** Whether the process may exit while the timer runs, as with `unref`. Default false. */
  isBackground?: boolean
}

export interface Interval {
  /** Starts no further run. A run under way ends by itself. Idempotent. */
  stop(): void
}

/**
 * Calls `run` every `everyMs`, first after `everyMs`, one run at a time: while one is under way, turns are skipped.
 * Errors go to `onError`, because an error thrown from a timer would end the process.
 */
export function startInterval(
  run: () => unknown,
  { everyMs, onError, isBackground = false }: IntervalOptions,
): Interval {
  let isUnderWay = false

  async function turn(): Promise<void> {
    if (isUnderWay) return
    isUnderWay = true
    try {
      await run()
    } catch (error) {
      onError(error)
    } finally {
      isUnderWay = false
    }
  }

  const timer = setInterval(() => void turn(), everyMs)
  if (isBackground) timer.unref()
  return { stop: () => clearInterval(timer) }
}
