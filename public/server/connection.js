/**
 * The page's one connection: everything that the page watches comes over it, and every part of the page shows the same standing.
 *
 * While it is not live, nothing is known of the present: what counts up or down stands still at the moment of the last message.
 */
import { HEARTBEAT_MS } from '../protocol.js'
import { openLive } from '../task-stream.js'
import { connection as text } from '../text/en.js'
import { baseUrl, serverNow, tellReachable, whenReachable } from './api.js'

/** A server that is silent for longer than a heartbeat and its way may be gone; it is tried anew after `MAX_SILENCE_MS`. */
const QUIET_MS = HEARTBEAT_MS + 2_000
const listeners = new Set()
/** Idle while nothing is watched. */
let standing = { state: 'idle', text: '' }
/** When the page was last current, by the clock of the server; undefined while it is. */
let lostAt

const live = openLive({ baseUrl, onConnection: take })
/** As in the client library, over the page's connection. */
export const watchList = (list, options) => watch(() => live.watchList(list, options))
export const watchTask = (id, options) => watch(() => live.watchTask(id, options))

window.addEventListener('online', () => live.retryNow())

/** How the page stands with the server: `state` and `text` as of the client library, `lostAt` when it was current last. */
export function pageConnection() {
  const quietMs = standing.state === 'live' ? silenceMs(live.connection) : 0
  if (quietMs < QUIET_MS) return { ...standing, lostAt }
  return { state: 'quiet', text: text.quiet(Math.floor(quietMs / 1_000)), lostAt: serverNow() - quietMs }
}

/** Calls `listener` when the standing has changed. Returns a function that ends it. */
export function onPageConnection(listener) {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** Now while the page is current, else the moment when it was so last. By the clock of the server. */
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

/** For how long nothing has been heard. */
function silenceMs({ heardAt } = {}) {
  return heardAt === undefined ? 0 : Math.max(0, Date.now() - heardAt)
}
