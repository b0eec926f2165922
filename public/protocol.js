// @ts-check
/**
 * What server and browser must agree on: statuses, close codes, limits and times, and the rules that follow from them.
 * This file is the source for both: browsers load it as it is, and `src/protocol` imports it and makes its schemas from
 * it. So it imports nothing.
 *
 * The compiler generates its types, `protocol.d.ts`: `npm run types:protocol` writes them, and a test compares.
 */

/** The statuses of a task, in the order of its life. */
export const STATUSES = /** @type {const} */ ([
  'SCHEDULED',
  'WAITING',
  'PENDING',
  'PROCESSING',
  'RETRYING',
  'CANCELLING',
  'COMPLETED',
  'FAILED',
  'CANCELLED',
  'EXPIRED',
])

/** @typedef {(typeof STATUSES)[number]} Status */

/**
 * The statuses that can follow each status. A final status has none.
 * @type {Readonly<Record<Status, readonly Status[]>>}
 */
export const TRANSITIONS = {
  SCHEDULED: ['PENDING', 'CANCELLED', 'EXPIRED'],
  WAITING: ['SCHEDULED', 'PENDING', 'FAILED', 'CANCELLED', 'EXPIRED'],
  PENDING: ['PROCESSING', 'FAILED', 'CANCELLED', 'EXPIRED'],
  // Back to PENDING: the attempt was released at shutdown, or its worker was lost.
  PROCESSING: ['COMPLETED', 'FAILED', 'RETRYING', 'CANCELLING', 'CANCELLED', 'PENDING'],
  RETRYING: ['PROCESSING', 'FAILED', 'CANCELLED', 'EXPIRED'],
  // A run that was asked to stop may still finish first.
  CANCELLING: ['CANCELLED', 'COMPLETED', 'FAILED'],
  COMPLETED: [],
  FAILED: [],
  CANCELLED: [],
  EXPIRED: [],
}

/** @type {readonly Status[]} */
export const FINAL_STATUSES = STATUSES.filter((status) => TRANSITIONS[status].length === 0)

/** Whether no other status can follow this one. @param {Status} status */
export function isFinal(status) {
  return FINAL_STATUSES.includes(status)
}

/** The longest silence of a stream before it sends a heartbeat, in milliseconds. The default of `STREAM_HEARTBEAT_SECONDS`. */
export const HEARTBEAT_MS = 15_000
/** A connection without data for this long, in milliseconds, counts as lost: twice the longest silence of a server. */
export const MAX_SILENCE_MS = 2 * HEARTBEAT_MS
/** A connection whose client reads none of the waiting data for this long, in milliseconds, is closed. */
export const MAX_UNREAD_MS = 30_000

/** @typedef {{ readonly code: number, readonly means: string, readonly action: string }} Close */
/** @param {number} code @param {string} means @param {string} action @returns {Close} */
const close = (code, means, action) => ({ code, means, action })

/** Why the server closes a WebSocket (RFC 6455 section 7.4), and how a client should react. */
export const CLOSES = {
  ended: close(1000, 'the task has ended and its last message was sent', 'stop'),
  internalError: close(1011, 'an internal error on the server ended this socket', 'reconnect with `since`'),
  restart: close(
    1012,
    'the server is restarting; the reason may contain `retryAfterMs=<n>`',
    'reconnect after that time',
  ),
  overload: close(1013, 'the server is overloaded', 'reconnect later'),
  positionLost: close(4001, 'the server can no longer guarantee the position', 'reconnect with `since`'),
  tooSlow: close(4002, `the client read nothing for ${MAX_UNREAD_MS / 1_000} s`, 'reconnect with `since`'),
  noPong: close(4003, 'the client did not answer pings', 'reconnect with `since`'),
  tooManyMessages: close(4029, 'the client sent too many requests in a short time', 'reconnect later and send fewer'),
  protocolError: close(4500, 'the client sent a message that this stream does not accept', 'stop'),
  notFound: close(4504, 'there is no such task', 'stop'),
}

/** Codes that this server does not send yet. Clients already have texts for them. */
export const FUTURE_CLOSES = { notAllowed: 4503, tooManyStreams: 4509, deleted: 4511 }

/** The code that a WebSocket reports to its own client if the connection broke without a close. No server sends it. */
export const BROKEN = 1006

/** Whether to reconnect after this close code: 1000 and 4500-4999 mean stop, everything else means reconnect with `since`. @param {number} code */
export function shouldReconnect(code) {
  return code !== CLOSES.ended.code && (code < 4500 || code > 4999)
}

/** Why a request over `/ws/tasks` is refused. */
export const REFUSALS = /** @type {const} */ ([
  'invalid_request',
  'duplicate_id',
  'unknown_subscription',
  'too_many_subscriptions',
  'too_many_tasks',
  'too_many_lists',
  'overloaded',
  'unavailable',
])

/** Whether the same request may succeed later, so that a client tries again. @param {(typeof REFUSALS)[number]} code */
export function isPassingRefusal(code) {
  return code === 'overloaded' || code === 'unavailable'
}

/** The maximum length of a title, in characters. */
export const MAX_TITLE_LENGTH = 200
/** The maximum length of a key of a task or the name of a tenant, in characters. */
export const MAX_KEY_LENGTH = 200
/** The maximum length of a reason that a person gives, in characters. */
export const MAX_REASON_LENGTH = 500
/** How small and how large a share can be made, relative to one without a weight. */
export const MIN_WEIGHT = 0.01
export const MAX_WEIGHT = 1_000
/** The number of rows in the window of a list: the maximum, and the default. */
export const MAX_LIST_ROWS = 1_000
export const DEFAULT_LIST_ROWS = 50
/** The maximum number of tasks in one subscription. */
export const MAX_SELECTED_IDS = 1_000
/** The maximum number of tasks in a stream over plain HTTP: its address and its position must fit into headers. */
export const MAX_IDS_IN_URL = 200
/** The longest time that a request may wait for a change, in seconds. */
export const MAX_WAIT_SECONDS = 60

/**
 * Whether a list with this filter is ordered by creation time (PostgreSQL's clock). Otherwise it is ordered by id, which is
 * nearly the same.
 * @param {{ createdAfter?: string | undefined, createdBefore?: string | undefined }} filter
 */
export function isOrderedByTime({ createdAfter, createdBefore }) {
  return createdAfter !== undefined || createdBefore !== undefined
}

/**
 * The order of a list, newest first: by id, because ids are ordered by creation. With a range of creation times, by time
 * first.
 * @typedef {{ readonly id: string, readonly createdAt: string }} OrderedRow
 * @param {{ createdAfter?: string | undefined, createdBefore?: string | undefined }} filter
 * @returns {(a: OrderedRow, b: OrderedRow) => number}
 */
export function compareRows(filter) {
  /** @param {OrderedRow} a @param {OrderedRow} b */
  const byId = (a, b) => (a.id < b.id ? 1 : a.id > b.id ? -1 : 0)
  if (!isOrderedByTime(filter)) return byId
  return (a, b) => (a.createdAt < b.createdAt ? 1 : a.createdAt > b.createdAt ? -1 : byId(a, b))
}
