/** When a client should come back whose stream ends because this process stops. */

/** Clients come back after a restart between these: not all at once, and not before there is somebody. An EventSource keeps the pause for good. */
const MIN_RETRY_AFTER_MS = 1_000
const MAX_RETRY_AFTER_MS = 3_000

/** A pause of its own for each client, in milliseconds. */
export function chooseRetryPause(): number {
  return MIN_RETRY_AFTER_MS + Math.round(Math.random() * (MAX_RETRY_AFTER_MS - MIN_RETRY_AFTER_MS))
}

export function restartReason(): string {
  return `retryAfterMs=${chooseRetryPause()}`
}
