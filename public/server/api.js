/** Requests to the REST API, and the server's clock. */
import { rootUrl } from '../addresses.js'
import { isPassing, requestJson } from '../client/requests.js'

/** The address of the server, under whatever path a proxy serves it. */
export const baseUrl = rootUrl.replace(/\/$/, '')

const DEADLINE_MS = 10_000
const RETRY_MS = 2_000
/** How often the server is asked whether a reported problem is over. */
const PROBE_MS = 3_000
/** Below this difference the two clocks count as equal: the header has a resolution of whole seconds. */
const CLOCK_TOLERANCE_MS = 2_000
let clockOffsetMs = 0
const waiting = new Set()
let probeTimer

/** The answer to a GET, which must have the member `has`. Throws as `requestJson` does. */
export function getJson(path, { signal, has = 'items' } = {}) {
  return send(path, { signal, has })
}

/** Throws as `requestJson` does. */
export function postJson(path, body = {}, { has = 'id' } = {}) {
  return sendJson('POST', path, body, has)
}

/** Throws as `requestJson` does. */
export function putJson(path, body, { has = 'name' } = {}) {
  return sendJson('PUT', path, body, has)
}

/** The answer needs no body. Throws as `requestJson` does. */
export function sendDelete(path) {
  return send(path, { method: 'DELETE' })
}

function sendJson(method, path, body, has) {
  const headers = { accept: 'application/json', 'content-type': 'application/json' }
  return send(path, { has, method, headers, body: JSON.stringify(body) })
}

async function send(path, options) {
  // No answer of the API is a redirect. A redirect comes from a proxy, perhaps to a page of another origin, which could
  // not be read.
  const { body, response } = await requestJson(baseUrl + path, {
    headers: { accept: 'application/json' },
    redirect: 'manual',
    timeoutMs: DEADLINE_MS,
    ...options,
  })
  readClock(response)
  tellReachable()
  return body
}

/**
 * Reads until it succeeds, as `getJson` does. `onRead` receives the answer, `onFailure` each error before it.
 * @returns a function that stops it
 */
export function readUntilDone(path, { has, onRead, onFailure = () => {} }) {
  const stopped = new AbortController()
  let timer
  let forget = () => {}
  const attempt = async () => {
    clearTimeout(timer)
    forget()
    let answer
    try {
      answer = await getJson(path, { signal: stopped.signal, has })
    } catch (error) {
      if (stopped.signal.aborted) return
      onFailure(error)
      timer = setTimeout(attempt, RETRY_MS)
      forget = whenReachable(attempt)
      return
    }
    if (!stopped.signal.aborted) onRead(answer)
  }
  attempt()
  return () => {
    clearTimeout(timer)
    forget()
    stopped.abort()
  }
}

/**
 * Calls `listener` once the server answers, and polls it until then.
 * @returns a function that cancels it
 */
export function whenReachable(listener) {
  waiting.add(listener)
  probeTimer ??= setTimeout(probe, PROBE_MS)
  return () => waiting.delete(listener)
}

/** Call this when something else shows that the server answers. */
export function tellReachable() {
  clearTimeout(probeTimer)
  probeTimer = undefined
  const listeners = [...waiting]
  waiting.clear()
  for (const listener of listeners) listener()
}

async function probe() {
  clearTimeout(probeTimer)
  probeTimer = undefined
  if (waiting.size === 0) return
  try {
    await getJson('/api/tasks?limit=1') // a success notifies the listeners
  } catch (error) {
    if (!isPassing(error)) return // the server answers, but with an error: the message stays
    probeTimer ??= setTimeout(probe, PROBE_MS)
  }
}
window.addEventListener('online', probe)

/** The present time by the server's clock: task times use that clock, and the watcher's computer may be minutes off. */
export function serverNow() {
  return Date.now() + clockOffsetMs
}

function readClock(response) {
  const offsetMs = Date.parse(response.headers.get('date') ?? '') - Date.now()
  if (Number.isFinite(offsetMs)) clockOffsetMs = Math.abs(offsetMs) > CLOCK_TOLERANCE_MS ? offsetMs : 0
}
