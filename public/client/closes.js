/** How a stream ends, and what that means for its watcher. */

/** Messages for the codes after which a retry would not help. */
export const STOP_REASONS = {
  4500: 'The server did not understand this client',
  4503: 'You may no longer watch this task',
  4504: 'There is no such task',
  4509: 'Too many streams are open',
  4511: 'The task has been deleted',
}
/** Statuses that a retry would get again, mapped to the close code with the same meaning on an open stream. */
export const STOP_CODE_OF_HTTP_STATUS = { 400: 4500, 401: 4503, 403: 4503, 404: 4504, 410: 4511, 421: 4503 }
const MAX_RETRY_AFTER_MS = 60_000

/** Whether to reconnect after this WebSocket close code: 1000 and 4500-4999 mean stop. */
export function shouldReconnect(code) {
  return code !== 1000 && (code < 4500 || code > 4999)
}

/** The watch stopped before the task ended. `code` is the close code that says why, or 1000 after `close()`. */
export class WatchError extends Error {
  name = 'WatchError'
  constructor(code, message) {
    super(message)
    this.code = code
  }
}

/** Whether only Taskwire's server closes with this code. If so, the connection to it works, whatever else failed. */
export function isOfTaskwire(code) {
  return code === 1012 || code >= 4000
}

/** A server that restarts names the requested delay in the close reason: `retryAfterMs=1500`. */
export function retryAfterMs(reason) {
  const found = /\bretryAfterMs=(\d+)/.exec(reason)
  return found ? Math.min(Number(found[1]), MAX_RETRY_AFTER_MS) : undefined
}
