/** Keeps what counts in seconds counting: relative times, running durations, pauses before a reconnect. */
import { serverNow } from '../server/api.js'
import { knownNow } from '../server/connection.js'
import { h, setAttribute, setText } from './dom.js'
import { describeAgo, describeInstant } from '../format/times.js'

const TICK_MS = 500
const listeners = new Set()
setInterval(() => document.hidden || tick(), TICK_MS)
document.addEventListener('visibilitychange', () => document.hidden || tick())

/** Calls `listener` about twice a second while the page is visible. Returns a function that ends it. */
export function onTick(listener) {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** A time as people say it, the exact one on hovering. */
export function createTime(instant) {
  const element = h('time', { class: 'ago' })
  setTime(element, instant)
  return element
}

/** Makes it another time. */
export function setTime(element, instant) {
  setAttribute(element, 'datetime', instant)
  setAttribute(element, 'title', describeInstant(instant))
  setText(element, describe(instant))
}

/** What is past stays past; whether what was to come has come is not known while the server is away. */
function describe(instant) {
  const isToCome = Date.parse(instant) > knownNow()
  return describeAgo(instant, isToCome ? knownNow() : serverNow())
}

function tick() {
  for (const element of document.querySelectorAll('time.ago')) setText(element, describe(element.dateTime))
  for (const listener of listeners) listener()
}
