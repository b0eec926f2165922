/** Updates everything that counts in seconds: relative times, running durations, delays before a reconnect. */
import { serverNow } from '../server/api.js'
import { knownNow } from '../server/connection.js'
import { h, setAttribute, setText } from './dom.js'
import { describeAgo, describeInstant } from '../format/times.js'

const TICK_MS = 500
const listeners = new Set()
setInterval(() => document.hidden || tick(), TICK_MS)
document.addEventListener('visibilitychange', () => document.hidden || tick())

/** Calls `listener` about twice a second while the page is visible. Returns a function that stops it. */
export function onTick(listener) {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** A relative time, with the exact time on hover. */
export function createTime(instant) {
  const element = h('time', { class: 'ago' })
  setTime(element, instant)
  return element
}

/** Changes the time. */
export function setTime(element, instant) {
  setAttribute(element, 'datetime', instant)
  setAttribute(element, 'title', describeInstant(instant))
  setText(element, describe(instant))
}

/** A past time stays past; while the server is away, it is unknown whether a future event has happened. */
function describe(instant) {
  const isToCome = Date.parse(instant) > knownNow()
  return describeAgo(instant, isToCome ? knownNow() : serverNow())
}

function tick() {
  for (const element of document.querySelectorAll('time.ago')) setText(element, describe(element.dateTime))
  for (const listener of listeners) listener()
}
