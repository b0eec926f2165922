/**
 * Refuses requests whose head asks for something impossible or cannot be read: an expectation, or an address that is
 * not UTF-8.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { escapePointer } from '../../protocol/text.js'
import { ProblemError } from '../problem.js'
import type { WebRequest } from './http-server.js'

/** Must be registered after the gate, and before the routes. */
export function registerRequestCheck(app: FastifyInstance): void {
  app.addHook('onRequest', (request, _reply, done) => {
    done(findUnmetExpectation(request.raw) ?? findOddTarget(request) ?? findMalformed(request.originalUrl))
  })
}

/** Only `100-continue` is defined, and Node handles it (RFC 9110, section 10.1.1). */
function findUnmetExpectation(request: WebRequest): ProblemError | undefined {
  if (request.isExpectationUnknown !== true) return undefined
  return new ProblemError(
    'expectation_failed',
    `The server does not support the expectation ${String(request.headers.expect).slice(0, 100)}.`,
  )
}

/**
 * A request has no fragment (RFC 9112, section 3.2), which the router would take for the end of the path, and `*` is the
 * server as a whole, for OPTIONS only.
 */
function findOddTarget({ method, originalUrl: url }: FastifyRequest): ProblemError | undefined {
  if (!url.includes('#') && (url !== '*' || method === 'OPTIONS')) return undefined
  return new ProblemError(
    'malformed_url',
    url === '*'
      ? 'The address * is for OPTIONS only.'
      : 'The address contains a #; a part of a path is encoded as %23.',
  )
}

/**
 * The router decodes the path strictly but the query leniently: `%zz` would stay as it is, and a broken character would
 * become U+FFFD, so a filter would silently find nothing.
 */
function findMalformed(url: string): ProblemError | undefined {
  const start = url.indexOf('?')
  if (start === -1 || !url.includes('%', start)) return undefined
  const wrong = url
    .slice(start + 1)
    .split('&')
    .find((pair) => !isDecodable(pair))
  if (wrong === undefined) return undefined
  const name = toName(wrong.split('=')[0] ?? '')
  return new ProblemError('malformed_url', `The query parameter ${name} is not percent-encoded UTF-8.`, [
    {
      pointer: `/${escapePointer(name)}`,
      detail: 'has a % that does not start percent-encoded UTF-8',
      fix: 'Encode it with encodeURIComponent; write a literal % as %25.',
    },
  ])
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

function toName(text: string): string {
  const name = text.slice(0, 100).replaceAll('+', ' ')
  return isDecodable(name) ? decodeURIComponent(name) : name
}
