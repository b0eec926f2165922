/** A step repeated, with a pause between. */
import { growingPauseMs, pause } from './pause.js'

export interface LoopOptions {
  intervalMs: number
  /** The longest pause after failures, unless `intervalMs` is longer. Default 5,000. */
  maxPauseMs?: number
  /** Must not throw. @param failures one after the other, from 1 */
  onError(error: unknown, failures: number): void
  /** A step works after one that failed. Must not throw. */
  onRecovery?(): void
}

export interface Loop {
  /** Lets the step under way end, starts no other. Idempotent. */
  stop(): Promise<void>
}

/**
 * Runs `step` again and again, `intervalMs` after it ended, or at once when it returns true ("there is more"). After a
 * step that fails the pause is longer, up to `maxPauseMs`.
 */
export function startLoop(step: () => Promise<boolean>, options: LoopOptions): Loop {
  const { intervalMs, maxPauseMs = 5_000, onError, onRecovery } = options
  const stopped = new AbortController()
  let failures = 0

  async function takeStep(): Promise<boolean> {
    try {
      const hasMore = await step()
      if (failures > 0) onRecovery?.()
      failures = 0
      return hasMore
    } catch (error) {
      failures += 1
      onError(error, failures)
      return false
    }
  }

  async function run(): Promise<void> {
    while (!stopped.signal.aborted) {
      const hasMore = await takeStep()
      const pauseMs = growingPauseMs(failures + 1, { firstMs: intervalMs, maxMs: Math.max(intervalMs, maxPauseMs), jitter: 0 })
      if (!hasMore) await pause(pauseMs, stopped.signal)
    }
  }

  const running = run()
  return {
    async stop() {
      stopped.abort()
      await running
    },
  }
}
