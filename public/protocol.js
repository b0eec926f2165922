// @ts-check
/**
 * What server and browser must agree on: statuses, close codes, limits and times, and the rules that are made of them. This file is the
 * source of both: browsers load it as it is, and `src/protocol` imports it and makes its schemas from it. So it imports nothing.
 *
 * Its types, `protocol.d.ts`, are what the compiler makes of it: `npm run types:protocol` writes them, and a test compares.
 */

/** Where a task can stand, in the order of a life. */
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
 * From each status, the statuses it may move to. A final status has none.
 * @type {Readonly<Record<Status, readonly Status[]>>}
 */
export const TRANSITIONS = {
  SCHEDULED: ['PENDING', 'CANCELLED', 'EXPIRED'],
  WAITING: ['SCHEDULED', 'PENDING', 'FAILED', 'CANCELLED', 'EXPIRED'],
  PENDING: ['PROCESSING', 'FAILED', 'CANCELLED', 'EXPIRED'],
  // Back to PENDING: the attempt was handed back at shutdown, or its worker was lost.
  PROCESSING: ['COMPLETED', 'FAILED', 'RETRYING', 'CANCELLING', 'CANCELLED', 'PENDING'],
  RETRYING: ['PROCESSING', 'FAILED', 'CANCELLED', 'EXPIRED'],
  // A run that was asked to stop may still end by itself first.
  CANCELLING: ['CANCELLED', 'COMPLETED', 'FAILED'],
  COMPLETED: [],
  FAILED: [],
  CANCELLED: [],
  EXPIRED: [],
}

/** @type {readonly Status[]} */
export const FINAL_STATUSES = STATUSES.filter((status) => TRANSITIONS[status].length === 0)

/** Whether nothing can follow this status. @param {Status} status */
export function isFinal(status) {
  return FINAL_STATUSES.includes(status)
}

/** How long a stream is silent at most, in milliseconds: then it says a heartbeat. The default of `STREAM_HEARTBEAT_SECONDS`. */
export const HEARTBEAT_MS = 15_000
/** A connection from which nothing was heard for so long, in milliseconds, counts as lost. */
export const MAX_SILENCE_MS = 2 * HEARTBEAT_MS
/** A connection that takes nothing of what waits for it for so long, in milliseconds, is closed. */
export const MAX_UNREAD_MS = 30_000

/** @typedef {{ readonly code: number, readonly means: string, readonly action: string }} Close */
/** @param {number} code @param {string} means @param {string} action @returns {Close} */
const close = (code, means, action) => ({ code, means, action })

/** Why the server closes a WebSocket (RFC 6455 section 7.4), and what a client should do. */
export const CLOSES = {
  ended: close(1000, 'the task has ended, and its last message was sent', 'stop'),
  internalError: close(1011, 'something failed on the server, for this socket', 'reconnect with `since`'),
  restart: close(1012, 'the server restarts; the reason may hold `retryAfterMs=<n>`', 'reconnect after that time'),
  overload: close(1013, 'the server is overloaded', 'reconnect later'),
  positionLost: close(4001, 'the server cannot vouch for the position any more', 'reconnect with `since`'),
  tooSlow: close(4002, `nothing was taken for ${MAX_UNREAD_MS / 1_000} s`, 'reconnect with `since`'),
  noPong: close(4003, 'pings were not answered', 'reconnect with `since`'),
  tooManyMessages: close(4029, 'the client asked too much in a short time', 'reconnect later, and ask less'),
  protocolError: close(4500, 'the client sent what this stream does not take', 'stop'),
  notFound: close(4504, 'there is no such task', 'stop'),
}

/** Codes that this server does not send yet. Clients have words for them already. */
export const FUTURE_CLOSES = { notAllowed: 4503, tooManyStreams: 4509, deleted: 4511 }

/** What a client is told by its own WebSocket when the connection broke without a close. No server sends it. */
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

/** Whether the same request may be granted later, so that a client tries again. @param {(typeof REFUSALS)[number]} code */
export function isPassingRefusal(code) {
  return code === 'overloaded' || code === 'unavailable'
}

/** The longest title of a task, in characters. */
export const MAX_TITLE_LENGTH = 200
/** Rows of the window of a list, at most, and where none are asked for. */
export const MAX_LIST_ROWS = 1_000
export const DEFAULT_LIST_ROWS = 50
/** Tasks that one subscription names, at most. */
export const MAX_SELECTED_IDS = 1_000
/** Tasks that a stream over plain HTTP names, at most: its address and its position must fit into headers. */
export const MAX_IDS_IN_URL = 200
/** The longest a request may wait for a change, in seconds. */
export const MAX_WAIT_SECONDS = 60

/**
 * Whether a list of this filter is in the order of creation by PostgreSQL's clock; otherwise it is in that of the ids, which is near.
 * @param {{ createdAfter?: string | undefined, createdBefore?: string | undefined }} filter
 */
export function isOrderedByTime({ createdAfter, createdBefore }) {
  return createdAfter !== undefined || createdBefore !== undefined
}

/**
 * The order of a list, newest first.
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
