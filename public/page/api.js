/** Requests to the REST surface, and the server's clock. */
import { ProblemError } from '../task-stream.js'

/** Where the server is reached, under whatever path a proxy has put it: this file lies in its folder `page`. */
export const baseUrl = new URL('..', import.meta.url).href.replace(/\/$/, '')

const DEADLINE_MS = 10_000
/** Below this the two clocks agree as well as the header can tell: it has whole seconds. */
const CLOCK_TOLERANCE_MS = 2_000
let clockOffsetMs = 0

/** Throws `ProblemError` when the server refuses, and what `fetch` throws when it cannot be reached. */
export async function getJson(path, { signal } = {}) {
  const deadline = AbortSignal.timeout(DEADLINE_MS)
  const response = await fetch(baseUrl + path, {
    headers: { accept: 'application/json' },
    signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
  })
  readClock(response)
  const body = await response.json()
  if (!response.ok) throw new ProblemError(body)
  return body
}

/** Throws as `getJson` does. */
export async function postJson(path, body = {}) {
  const response = await fetch(baseUrl + path, {
    method: 'POST',
    headers: { accept: 'application/json', 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(DEADLINE_MS),
  })
  const answer = await response.json()
  if (!response.ok) throw new ProblemError(answer)
  return answer
}

/** Now, by the server's clock: the times of a task are, and the watcher's computer may be minutes off. */
export function serverNow() {
  return Date.now() + clockOffsetMs
}

function readClock(response) {
  const offsetMs = Date.parse(response.headers.get('date') ?? '') - Date.now()
  if (Number.isFinite(offsetMs)) clockOffsetMs = Math.abs(offsetMs) > CLOCK_TOLERANCE_MS ? offsetMs : 0
}
