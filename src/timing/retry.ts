/** What is tried again. */
import { growingPauseMs, pause, type Growth } from './pause.js'

export interface RetryOptions extends Growth {
  /** Tries at most. Default: no bound. */
  maxTries?: number
  /** No try begins later than this after the first. Default: no bound. */
  withinMs?: number
  /** Whether another try may help. Must not throw. Default: always. */
  isWorthwhile?(error: unknown): boolean
  /** Another try follows, after a pause. Must not throw. */
  onRetry?(error: unknown): void
  /** No try begins after it has aborted; a pause under way ends at once. */
  signal?: AbortSignal
}

/**
 * Calls `work` until it succeeds, with growing pauses between the tries.
 * @throws what the last try threw, when another is not worthwhile or not allowed
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
