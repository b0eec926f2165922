/** What happens every so often. */

export interface IntervalOptions {
  everyMs: number
  /** Must not throw. */
  onError(error: unknown): void
  /** Whether it lets the process end, as `unref` does. Default false. */
  isBackground?: boolean
}

export interface Interval {
  /** Starts no further run; one that is under way ends by itself. Idempotent. */
  stop(): void
}

/**
 * Calls `run` every `everyMs`, the first time after `everyMs`, one at a time: while a run is under way, turns are left out. What it
 * throws or rejects with goes to `onError`, because nothing that a timer calls may throw: it would end the process.
 */
export function startInterval(run: () => unknown, { everyMs, onError, isBackground = false }: IntervalOptions): Interval {
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
