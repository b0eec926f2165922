/**
 * The page's single connection: everything that the page watches uses it, and every part of the page shows the same
 * state.
 *
 * While it is not live, the present is unknown: counters stop at the time of the last message.
 */
import { HEARTBEAT_MS } from '../protocol.js'
import { openLive } from '../task-stream.js'
import { connection as text } from '../text/en.js'
import { baseUrl, serverNow, tellReachable, whenReachable } from './api.js'

/** After a silence longer than a heartbeat and its way the server may be gone; after `MAX_SILENCE_MS` the client reconnects. */
const QUIET_MS = HEARTBEAT_MS + 2_000
const listeners = new Set()
/** Idle while nothing is watched. */
let standing = { state: 'idle', text: '' }
/** When the page was last current, by the server's clock; undefined while it is. */
let lostAt

const live = openLive({ baseUrl, onConnection: take })
/** As in the client library, over the page's connection. */
export const watchList = (list, options) => watch(() => live.watchList(list, options))
export const watchTask = (id, options) => watch(() => live.watchTask(id, options))

window.addEventListener('online', () => live.retryNow())

/**
 * The state of the page's connection: `state` and `text` as in the client library, `lostAt` when the page was last
 * current.
 */
export function pageConnection() {
  const quietMs = standing.state === 'live' ? silenceMs(live.connection) : 0
  if (quietMs < QUIET_MS) return { ...standing, lostAt }
  return { state: 'quiet', text: text.quiet(Math.floor(quietMs / 1_000)), lostAt: serverNow() - quietMs }
}

/** Calls `listener` when the state has changed. Returns a function that stops it. */
export function onPageConnection(listener) {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** The present time while the page is current, otherwise the time when it last was. By the server's clock. */
export function knownNow() {
  return pageConnection().lostAt ?? serverNow()
}

function take(connection) {
  const isLive = connection.state === 'live'
  if (isLive) lostAt = undefined
  else if (standing.state === 'live') lostAt = serverNow() - silenceMs(connection)
  standing = connection
  document.body.dataset.connection = connection.state
  if (isLive) tellReachable()
  if (connection.state === 'away') whenReachable(() => live.retryNow())
  for (const listener of listeners) listener(pageConnection())
}

function watch(begin) {
  if (standing.state === 'idle') take({ state: 'connecting', text: text.connecting })
  return begin()
}

/** The length of the silence. */
function silenceMs({ heardAt } = {}) {
  return heardAt === undefined ? 0 : Math.max(0, Date.now() - heardAt)
}
