/**
 * Requests to the REST API, and readable messages for those that failed. Between this program and Taskwire there may be
 * a broken network, a proxy that answers itself, or a sign-in page: none of them speaks JSON. No dependencies and no
 * DOM.
 */

/**
 * The server, or a proxy in front of it, refused the request. `problem` is its answer (RFC 9457), or one derived from
 * the status.
 */
export class ProblemError extends Error {
  name = 'ProblemError'
  constructor(problem, options) {
    super(problem.detail || problem.title, options)
    this.problem = problem
  }
}

/**
 * No answer arrived. It is unknown whether the server received the request. `code` is `offline`, `unreachable`,
 * `timeout` or `incomplete`.
 */
export class ConnectionError extends Error {
  name = 'ConnectionError'
  constructor(code, message, options) {
    super(message, options)
    this.code = code
  }
}

/** Statuses with which proxies say that the server is temporarily unavailable. */
const PASSING_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504])

/** Whether the failure is likely to be temporary, so that the same request may be repeated. */
export function isPassing(error) {
  if (error instanceof ConnectionError) return true
  return error instanceof ProblemError && PASSING_STATUSES.has(error.problem.status)
}

/**
 * Sends a request and reads its JSON. `options` takes the options of `fetch`, `fetch` itself, `timeoutMs`, and `has`: a
 * member that the expected answer must have. Without `has`, an answer of 204 has the body undefined.
 *
 * Throws `ProblemError` if the answer is not one that Taskwire gives to an accepted request, `ConnectionError` if there
 * is none, and the reason of `signal` if that was aborted.
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
  if (response.status === 204 && !has) return { body: undefined, response }
  if (body === undefined || (has && !(has in body))) throw new ProblemError(describeForeignAnswer(response, text))
  return { body, response }
}

/** The problem in the answer, or one derived from the status if something other than Taskwire answered. */
export function readProblem({ status, type }, body) {
  if (typeof body?.title === 'string')
    return { type: 'about:blank', code: 'unexpected', detail: '', fix: '', requestId: '', ...body, status }
  if (type === 'opaqueredirect' || (status >= 300 && status < 400))
    return describeUnexpected(status, `A proxy redirected the request, perhaps to a sign-in page`, SIGN_IN)
  const [title, fix] = UNEXPECTED[status] ?? (status >= 500 ? SERVER_FAILED : OTHER)
  return describeUnexpected(status, `${title} (${status})`, fix)
}

const SIGN_IN = 'Reload the page, and sign in if you are asked to.'
const WAIT = 'Wait a moment, then try again.'
const TOO_LONG = 'Delete the cookies of this site, then try again; or raise the limit of the proxy.'
const SERVER_FAILED = ['The server, or a proxy in front of it, failed', WAIT]
const OTHER = ['The server refused the request without a reason', 'Check that Taskwire is at this address.']
/** What a status means if it does not come from Taskwire, which would send a problem: what happened, and what to do. */
const UNEXPECTED = {
  401: ['A proxy requires you to sign in', SIGN_IN],
  403: ['A proxy refused the request', SIGN_IN],
  404: ['Taskwire is not at this address', 'Check the address and the proxy configuration.'],
  405: ['Taskwire is not at this address', 'Check the address and the proxy configuration.'],
  407: ['A proxy requires you to sign in', SIGN_IN],
  408: ['The request took too long to arrive', WAIT],
  413: [
    'The request is too large for a proxy',
    'Send less, or raise the limit of the proxy (nginx: client_max_body_size).',
  ],
  414: ['The address is too long for a proxy', TOO_LONG],
  421: ['A proxy does not know this host name', 'Check the address.'],
  429: ['A proxy is limiting requests', WAIT],
  431: ['The request headers are too large for a proxy', TOO_LONG],
  502: ['The server is not answering its proxy', WAIT],
  503: ['The server is not available', WAIT],
  504: ['The server did not answer its proxy in time', WAIT],
}

function describeUnexpected(status, title, fix) {
  return { type: 'about:blank', title, status, code: 'unexpected', detail: '', fix, requestId: '' }
}

/** An answer with a success status that does not contain Taskwire's JSON. */
function describeForeignAnswer({ status, headers }, text) {
  if (text.trim() === '') return describeUnexpected(status, 'The answer is empty', WAIT)
  const isPage = headers.get('content-type')?.includes('html') || /^\s*</.test(text)
  if (isPage) return describeUnexpected(status, 'The answer was a web page, perhaps a sign-in page', SIGN_IN)
  return describeUnexpected(status, 'The answer is incomplete, or not from Taskwire', WAIT)
}

function describeNoAnswer(cause, { response, timeoutMs, isTooLate }) {
  if (isTooLate)
    return new ConnectionError('timeout', `The server has not answered for ${Math.ceil(timeoutMs / 1_000)} s`, {
      cause,
    })
  if (globalThis.navigator?.onLine === false) return new ConnectionError('offline', 'This device is offline', { cause })
  if (response)
    return new ConnectionError('incomplete', 'The connection broke before the answer was complete', { cause })
  return new ConnectionError('unreachable', 'The server cannot be reached', { cause })
}

/** Taskwire answers only with objects and lists. */
function parse(text) {
  try {
    const value = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
