/** Retries work with backoff. */
import { growingPauseMs, pause, type Growth } from './pause.js'

export interface RetryOptions extends Growth {
  /** Most tries. Default: no limit. */
  maxTries?: number
  /** No try begins later than this after the first. Default: no limit. */
  withinMs?: number
  /** Whether another try may help. Must not throw. Default: always. */
  isWorthwhile?(error: unknown): boolean
  /** Called before the pause that precedes another try. Must not throw. */
  onRetry?(error: unknown): void
  /** Once aborted, no further try begins, and a running pause ends at once. */
  signal?: AbortSignal
}

/**
 * Calls `work` until it succeeds, with growing pauses in between.
 * @throws the last try's error, when another try would not help or is not allowed
 */
export async function retry<Answer>(work: () => Promise<Answer>, options: RetryOptions): Promise<Answer> {
  const { maxTries = Infinity, withinMs = Infinity, isWorthwhile = () => true, onRetry, signal } = options
  const endsAtMs = performance.now() + withinMs
  for (let failures = 1; ; failures += 1) {
    try {
      return await work()
    } catch (error) {
      if (failures >= maxTries || performance.now() > endsAtMs || !isWorthwhile(error) || signal?.aborted) throw error
      onRetry?.(error)
      await pause(growingPauseMs(failures, options), signal)
      if (signal?.aborted) throw error
    }
  }
}
