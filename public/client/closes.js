/** How a stream ends, and what that means for its watcher. */
import { CLOSES, FUTURE_CLOSES } from '../protocol.js'

const PROTOCOL_ERROR = CLOSES.protocolError.code
const NOT_FOUND = CLOSES.notFound.code
const { notAllowed, tooManyStreams, deleted } = FUTURE_CLOSES

/** Messages for the codes after which a retry would not help. */
export const STOP_REASONS = {
  [PROTOCOL_ERROR]: 'The server did not understand this client',
  [notAllowed]: 'You may no longer watch this task',
  [NOT_FOUND]: 'There is no such task',
  [tooManyStreams]: 'Too many streams are open',
  [deleted]: 'The task has been deleted',
}
/** Statuses that a retry would get again, mapped to the close code with the same meaning on an open stream. */
export const STOP_CODE_OF_HTTP_STATUS = {
  400: PROTOCOL_ERROR,
  401: notAllowed,
  403: notAllowed,
  404: NOT_FOUND,
  410: deleted,
  421: notAllowed,
}
const MAX_RETRY_AFTER_MS = 60_000

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
  return code === CLOSES.restart.code || code >= 4_000
}

/** A server that restarts names the requested delay in the close reason: `retryAfterMs=1500`. */
export function retryAfterMs(reason) {
  const found = /\bretryAfterMs=(\d+)/.exec(reason)
  return found ? Math.min(Number(found[1]), MAX_RETRY_AFTER_MS) : undefined
}
