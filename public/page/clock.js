/** Keeps what counts in seconds counting: relative times, running durations, pauses before a reconnect. */
import { serverNow } from './api.js'
import { h } from './dom.js'
import { describeAgo, describeInstant } from './words.js'

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
  const element = h('time', { class: 'ago', datetime: instant, title: describeInstant(instant) })
  element.textContent = describeAgo(instant, serverNow())
  return element
}

function tick() {
  for (const element of document.querySelectorAll('time.ago')) {
    const text = describeAgo(element.dateTime, serverNow())
    if (element.textContent !== text) element.textContent = text
  }
  for (const listener of listeners) listener()
}
