/**
 * One HTTP exchange under an address guard: redirects are followed here, the answer is read up to a limit, and one
 * deadline covers everything.
 *
 * Each exchange has its own connections, which are closed at its end, so no connection is reused that was allowed by
 * another check. Proxy environment variables are ignored: a proxy would resolve names without the guard.
 */
import type { Agent, Dispatcher } from 'undici'
import { AddressRefusedError, type AddressGuard } from './address-guard.js'

/** Loaded with the first request: it takes memory, also in processes that never send one. */
const loadClient = () => import('undici')

export const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const
export type Method = (typeof METHODS)[number]

export interface GuardedRequest {
  method: Method
  url: URL
  /** Lower-case names. */
  headers: Readonly<Record<string, string>>
  body: string | null
  timeoutMs: number
  /**
   * How much of the answer's body is kept; reading stops there. `none`: only the head is needed, and the body is not
   * awaited.
   */
  maxBytes: number | 'none'
  /** Whether to return an answer with this redirect status instead of following it. */
  isWanted(status: number): boolean
}

export interface GuardedResponse {
  status: number
  headers: Dispatcher.ResponseData['headers']
  /** The final URL, after redirects. */
  url: URL
  bytes: Buffer
  /** Whether the body was longer than `maxBytes`. */
  truncated: boolean
}

const MAX_REDIRECTS = 3
const REDIRECT_STATUSES = [301, 302, 303, 307, 308]
/** Headers that are sent to another origin after a redirect; the others could contain a secret for the first one. */
const HARMLESS_HEADERS = ['accept', 'accept-encoding', 'accept-language', 'content-type', 'user-agent']

/** @throws the signal's reason if it aborts; otherwise an Error that says what went wrong and what to do */
export async function sendGuarded(
  wanted: GuardedRequest,
  guard: AddressGuard,
  signal: AbortSignal,
): Promise<GuardedResponse> {
  const { Agent } = await loadClient()
  const deadline = AbortSignal.timeout(wanted.timeoutMs)
  const stop = AbortSignal.any([signal, deadline])
  const agent = new Agent({
    connect: { lookup: guard.lookup, timeout: wanted.timeoutMs },
    // The deadline limits these; the agent's own limits would cut a longer timeoutMs short.
    headersTimeout: 0,
    bodyTimeout: 0,
  })
  try {
    return await followRedirects(wanted, guard, agent, stop)
  } catch (error) {
    signal.throwIfAborted()
    if (deadline.aborted) {
      throw new Error(
        `${describeRequest(wanted)} took longer than ${wanted.timeoutMs} ms. Raise timeoutMs, or find out why the server is slow.`,
        { cause: error },
      )
    }
    throw explain(error, wanted)
  } finally {
    await agent.destroy()
  }
}

async function followRedirects(
  first: GuardedRequest,
  guard: AddressGuard,
  agent: Agent,
  signal: AbortSignal,
): Promise<GuardedResponse> {
  const { request } = await loadClient()
  let current = first
  for (let redirects = 0; ; redirects += 1) {
    guard.checkUrl(current.url)
    const { method, url, headers, body } = current
    const response = await request(url, { dispatcher: agent, method, headers, body, signal })
    const location = response.headers.location
    const isRedirect = REDIRECT_STATUSES.includes(response.statusCode) && typeof location === 'string'
    if (!isRedirect || current.isWanted(response.statusCode)) {
      const read = current.maxBytes === 'none' ? dropBody(response) : await readUpTo(response.body, current.maxBytes)
      return { status: response.statusCode, headers: response.headers, url, ...read }
    }
    dropBody(response)
    if (redirects === MAX_REDIRECTS) {
      throw new Error(`${describeRequest(first)} redirects more than ${MAX_REDIRECTS} times. Request the final url.`)
    }
    current = createRedirect(current, response.statusCode, location)
  }
}

/** The next request, by the rules of the Fetch standard (HTTP-redirect fetch), with fewer headers to another origin. */
export function createRedirect(from: GuardedRequest, status: number, location: string): GuardedRequest {
  if (!URL.canParse(location, from.url.href)) {
    throw new Error(`${describeRequest(from)} redirects to a malformed address. Request the final url.`)
  }
  const url = new URL(location, from.url)
  if (from.url.protocol === 'https:' && url.protocol === 'http:') {
    throw new AddressRefusedError(
      `${describeRequest(from)} redirects from https to http, which is refused. Request the final url.`,
    )
  }
  const dropsBody = status === 303 || (from.method === 'POST' && (status === 301 || status === 302))
  const keepsHeaders = url.origin === from.url.origin
  const headers = Object.entries(from.headers).filter(
    ([name]) => (keepsHeaders || HARMLESS_HEADERS.includes(name)) && !(dropsBody && name.startsWith('content-')),
  )
  return {
    ...from,
    url,
    headers: Object.fromEntries(headers),
    ...(dropsBody ? { method: 'GET', body: null } : {}),
  }
}

/** For a body that is not needed. Without a listener, ending it early would be an unhandled error. */
function dropBody({ body }: Dispatcher.ResponseData): { bytes: Buffer; truncated: boolean } {
  body.on('error', () => {}).destroy()
  return { bytes: Buffer.alloc(0), truncated: false }
}

/** Leaving the loop early closes the connection, so the rest is never sent. */
async function readUpTo(body: AsyncIterable<Buffer>, maxBytes: number): Promise<{ bytes: Buffer; truncated: boolean }> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    size += chunk.length
    if (size > maxBytes) break
  }
  return { bytes: Buffer.concat(chunks).subarray(0, maxBytes), truncated: size > maxBytes }
}

/** The request in messages: without the query, which may contain a secret. */
export function describeRequest({ method, url }: { method: Method; url: URL }): string {
  return `${method} ${url.origin}${url.pathname}`
}

const EXPLANATIONS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the host name does not exist. Check the url.',
  EAI_AGAIN: 'the host name cannot be resolved at the moment. Try again later.',
  ECONNREFUSED: 'the connection was refused. Check the port, and that the server is running.',
  ECONNRESET: 'the server closed the connection.',
  UND_ERR_SOCKET: 'the server closed the connection before its answer was complete.',
}

function explain(error: unknown, wanted: GuardedRequest): Error {
  if (error instanceof AddressRefusedError) return error
  const { code, message } = error as NodeJS.ErrnoException
  const reason = EXPLANATIONS[code ?? ''] ?? (message || code)
  return new Error(`${describeRequest(wanted)} failed: ${reason}`, { cause: error })
}
