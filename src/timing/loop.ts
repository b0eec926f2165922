/** Repeats a step with a pause in between. */
import { growingPauseMs, pause } from './pause.js'

export interface LoopOptions {
  intervalMs: number
  /** The longest pause after failures, unless `intervalMs` is longer. Default 5,000. */
  maxPauseMs?: number
  /** Must not throw. @param failures consecutive failures, from 1 */
  onError(error: unknown, failures: number): void
  /** Called when a step succeeds after a failure. Must not throw. */
  onRecovery?(): void
}

export interface Loop {
  /** Waits for the running step and starts no other. Idempotent. */
  stop(): Promise<void>
}

/**
 * Runs `step` again and again: `intervalMs` after it ended, or at once when it returns true ("there is more").
 * Consecutive failures lengthen the pause, up to `maxPauseMs`.
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
      const pauseMs = growingPauseMs(failures + 1, {
        firstMs: intervalMs,
        maxMs: Math.max(intervalMs, maxPauseMs),
        jitter: 0,
      })
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
