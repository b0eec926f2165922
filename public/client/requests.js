/**
 * Requests to the REST surface, and in words why one brought no answer. Between this program and Taskwire there may be a network that is
 * gone, a proxy that answers by itself, or a page that asks to sign in: none of them speaks JSON. Without dependencies and without a DOM.
 */

/** The server, or a proxy before it, refused the request. `problem` is its answer (RFC 9457), or one made up from the status. */
export class ProblemError extends Error {
  name = 'ProblemError'
  constructor(problem, options) {
    super(problem.detail || problem.title, options)
    this.problem = problem
  }
}

/** No answer came. Whether the server got the request is not known. `code` is `offline`, `unreachable`, `timeout` or `incomplete`. */
export class ConnectionError extends Error {
  name = 'ConnectionError'
  constructor(code, message, options) {
    super(message, options)
    this.code = code
  }
}

/** Statuses with which proxies say that the server is away for now. */
const PASSING_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504])

/** Whether the failure is likely to be over soon, so that the same request may be sent again. */
export function isPassing(error) {
  if (error instanceof ConnectionError) return true
  return error instanceof ProblemError && PASSING_STATUSES.has(error.problem.status)
}

/**
 * Sends a request and reads its JSON. `options` has what `fetch` takes, `fetch` itself, `timeoutMs`, and with `has` the member that
 * the answer must have to be the one that is expected.
 *
 * Throws `ProblemError` when the answer is not what Taskwire answers to a request that it accepts, `ConnectionError` when there is none,
 * and the reason of `signal` when that was aborted.
 */
export async function requestJson(url, { fetch: send = fetch, signal, timeoutMs, has, ...init }) {
  const deadline = AbortSignal.timeout(timeoutMs)
  const signals = [signal, deadline].filter(Boolean)
  let response
  let text
  try {
    response = await send(url, { ...init, signal: AbortSignal.any(signals) })
    text = await response.text()
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    throw describeNoAnswer(error, { response, timeoutMs, isTooLate: deadline.aborted })
  }
  const body = parse(text)
  if (!response.ok) throw new ProblemError(readProblem(response, body))
  if (body === undefined || (has && !(has in body))) throw new ProblemError(describeForeignAnswer(response, text))
  return { body, response }
}

/** The answer's problem, or one made up from the status when something other than Taskwire answered. */
export function readProblem({ status, type }, body) {
  if (typeof body?.title === 'string') return { type: 'about:blank', code: 'unexpected', detail: '', fix: '', requestId: '', ...body, status }
  if (type === 'opaqueredirect' || (status >= 300 && status < 400)) return describeUnexpected(status, `A proxy sends requests elsewhere, perhaps to sign in`, SIGN_IN)
  const [title, fix] = UNEXPECTED[status] ?? (status >= 500 ? SERVER_FAILED : OTHER)
  return describeUnexpected(status, `${title} (${status})`, fix)
}

const SIGN_IN = 'Reload the page, and sign in if you are asked to.'
const WAIT = 'Wait a moment, then try again.'
const TOO_LONG = 'Delete the cookies of this site, then try again; or raise the limit of the proxy.'
const SERVER_FAILED = ['The server, or a proxy in front of it, failed', WAIT]
const OTHER = ['The server refused the request without a reason', 'Check that Taskwire is at this address.']
/** What a status means when it does not come from Taskwire, which would say so itself: what happened, and what to do. */
const UNEXPECTED = {
  401: ['A proxy wants to know who you are', SIGN_IN],
  403: ['A proxy refused the request', SIGN_IN],
  404: ['Taskwire is not at this address', 'Check the address, and how the proxy passes it on.'],
  405: ['Taskwire is not at this address', 'Check the address, and how the proxy passes it on.'],
  407: ['A proxy wants to know who you are', SIGN_IN],
  408: ['The request took too long to arrive', WAIT],
  413: ['A proxy finds the request too large', 'Send less, or raise the limit of the proxy (nginx: client_max_body_size).'],
  414: ['A proxy finds the address too long', TOO_LONG],
  421: ['A proxy does not know this host name', 'Check the address.'],
  429: ['A proxy finds that too many requests were sent', WAIT],
  431: ['A proxy finds the headers of the request too large', TOO_LONG],
  502: ['The server does not answer its proxy', WAIT],
  503: ['The server is not available', WAIT],
  504: ['The server did not answer its proxy in time', WAIT],
}

function describeUnexpected(status, title, fix) {
  return { type: 'about:blank', title, status, code: 'unexpected', detail: '', fix, requestId: '' }
}

/** An answer that says "accepted" and holds something else than Taskwire's JSON. */
function describeForeignAnswer({ status, headers }, text) {
  if (text.trim() === '') return describeUnexpected(status, 'The answer is empty', WAIT)
  const isPage = headers.get('content-type')?.includes('html') || /^\s*</.test(text)
  if (isPage) return describeUnexpected(status, 'A web page came instead of the answer, perhaps one to sign in', SIGN_IN)
  return describeUnexpected(status, 'The answer is incomplete, or not from Taskwire', WAIT)
}

function describeNoAnswer(cause, { response, timeoutMs, isTooLate }) {
  if (isTooLate) return new ConnectionError('timeout', `The server has not answered for ${Math.ceil(timeoutMs / 1_000)} s`, { cause })
  if (globalThis.navigator?.onLine === false) return new ConnectionError('offline', 'This device is offline', { cause })
  if (response) return new ConnectionError('incomplete', 'The connection broke before the answer was complete', { cause })
  return new ConnectionError('unreachable', 'The server cannot be reached', { cause })
}

/** Objects and lists are all that Taskwire answers. */
function parse(text) {
  try {
    const value = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
