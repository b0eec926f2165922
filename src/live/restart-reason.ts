/** When a client should reconnect if its stream ends because this process stops. */

/**
 * Clients reconnect after a restart within this range: not all at once, and not before a process listens again. An
 * EventSource keeps the delay for good.
 */
const MIN_RETRY_AFTER_MS = 1_000
const MAX_RETRY_AFTER_MS = 3_000

/** A random delay for each client, in milliseconds. */
export function chooseRetryPause(): number {
  return MIN_RETRY_AFTER_MS + Math.round(Math.random() * (MAX_RETRY_AFTER_MS - MIN_RETRY_AFTER_MS))
}

export function restartReason(): string {
  return `retryAfterMs=${chooseRetryPause()}`
}
