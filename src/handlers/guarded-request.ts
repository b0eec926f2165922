/**
 * One HTTP exchange under an address guard: redirects followed by hand, the answer read up to a cap, one deadline over
 * everything.
 *
 * Each exchange has its own connections, which are closed at its end, so none is ever reused that another check let
 * through. Environment variables for proxies are not read: a proxy would resolve names past the guard.
 */
import type { Agent, Dispatcher } from 'undici'
import { AddressRefusedError, type AddressGuard } from './address-guard.js'

/** With the first request: it takes memory, also in processes that never send one. */
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
  /** How much of the answer's body is kept; reading stops there. `none`: the head is the answer, and the body is not waited for. */
  maxBytes: number | 'none'
  /** Whether an answer with this redirect status is wanted itself, rather than what it points to. */
  isWanted(status: number): boolean
}

export interface GuardedResponse {
  status: number
  headers: Dispatcher.ResponseData['headers']
  /** Where the answer came from, after redirects. */
  url: URL
  bytes: Buffer
  /** Whether the body was longer than `maxBytes`. */
  truncated: boolean
}

const MAX_REDIRECTS = 3
const REDIRECT_STATUSES = [301, 302, 303, 307, 308]
/** Headers that may follow to another origin; the rest could hold a secret meant for the first. */
const HARMLESS_HEADERS = ['accept', 'accept-encoding', 'accept-language', 'content-type', 'user-agent']

/**
 * @throws the signal's reason when it aborts; otherwise an Error that says what went wrong and what to do
 */
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
    // The deadline bounds these; the agent's own would cut a longer timeoutMs short.
    headersTimeout: 0,
    bodyTimeout: 0,
  })
  try {
    return await followRedirects(wanted, guard, agent, stop)
  } catch (error) {
    signal.throwIfAborted()
    if (deadline.aborted) {
      throw new Error(
        `${describeRequest(wanted)} took longer than ${wanted.timeoutMs} ms. Raise timeoutMs, or see why it is slow.`,
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
      throw new Error(`${describeRequest(first)} redirects more than ${MAX_REDIRECTS} times. Ask for the final url.`)
    }
    current = createRedirect(current, response.statusCode, location)
  }
}

/** The next request, by the rules of the Fetch standard (HTTP-redirect fetch), with fewer headers to another origin. */
export function createRedirect(from: GuardedRequest, status: number, location: string): GuardedRequest {
  if (!URL.canParse(location, from.url.href)) {
    throw new Error(`${describeRequest(from)} redirects to a malformed address. Ask for the final url.`)
  }
  const url = new URL(location, from.url)
  if (from.url.protocol === 'https:' && url.protocol === 'http:') {
    throw new AddressRefusedError(
      `${describeRequest(from)} redirects from https to http, which is refused. Ask for the final url.`,
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

/** For a body of no use. Without a listener, ending it early would be an unhandled error. */
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

/** The request in messages: without the query, which may hold a secret. */
export function describeRequest({ method, url }: { method: Method; url: URL }): string {
  return `${method} ${url.origin}${url.pathname}`
}

const EXPLANATIONS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the host name does not exist. Check the url.',
  EAI_AGAIN: 'the host name cannot be resolved now. Try again later.',
  ECONNREFUSED: 'the connection was refused. Check the port, and that the server runs.',
  ECONNRESET: 'the server closed the connection.',
  UND_ERR_SOCKET: 'the server closed the connection before its answer was complete.',
}

function explain(error: unknown, wanted: GuardedRequest): Error {
  if (error instanceof AddressRefusedError) return error
  const { code, message } = error as NodeJS.ErrnoException
  const reason = EXPLANATIONS[code ?? ''] ?? (message || code)
  return new Error(`${describeRequest(wanted)} failed: ${reason}`, { cause: error })
}
