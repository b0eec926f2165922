/**
 * The host names that this server accepts.
 *
 * An attacker's page can make its own name point to this server ("DNS rebinding"). To the browser, page and server then
 * have the same origin: only the name in `Host` reveals the page. So a request is refused unless its name is known: the
 * loopback names, `HOST`, the names in `ALLOWED_HOSTS`, and any IP address, because an address cannot be redirected. A
 * server that listens beyond loopback also accepts the name of its machine.
 *
 * Every place where a request can name a host is checked: `Host`, which must be present exactly once; an absolute
 * request target (RFC 9112, section 3.2.2); and `X-Forwarded-Host` of a trusted proxy. The latter never replaces
 * `Host`, because a page could send it too.
 * @see https://en.wikipedia.org/wiki/DNS_rebinding
 */
import { hostname } from 'node:os'
import { domainToASCII } from 'node:url'
import type { FastifyRequest } from 'fastify'
import { splitList } from '../../environment.js'
import { ProblemError } from '../problem.js'
import { isAddress, parseAuthority } from './authority.js'

export interface HostOptions {
  /** As in the configuration: comma-separated names, `*` for any, or empty. */
  allowedHosts: string
  /** The address that the server listens on. */
  host: string
}

const LOOPBACK_NAMES = ['localhost', 'localhost.localdomain', 'ip6-localhost', 'ip6-loopback']
const ABSOLUTE_TARGET = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i

/** @returns a function that throws ProblemError `host_not_allowed` */
export function createHostCheck({ allowedHosts, host }: HostOptions): (request: FastifyRequest) => void {
  const listed = splitList(allowedHosts)
  if (listed.includes('*')) return () => {}
  const own = isLoopback(host) ? [host] : [host, hostname()]
  const known = new Set([...LOOPBACK_NAMES, ...own, ...listed].map(normalize))

  function isKnown(authority: string): boolean {
    const { name = '' } = parseAuthority(authority) ?? {}
    return known.has(name) || isAddress(name)
  }

  /** The last one that was known: nearly all requests have the same. */
  let lastKnown: string | undefined

  return (request) => {
    const { headers } = request
    const given = countHosts(request.raw.rawHeaders) > 1 ? 'several names' : (headers.host ?? '')
    if (given !== lastKnown && !isKnown(given)) throw refuse(given)
    lastKnown = given
    const [, target] = ABSOLUTE_TARGET.exec(request.originalUrl) ?? []
    if (target !== undefined && !isKnown(target)) throw refuse(target)
    // Fastify reads it only from trusted proxies.
    if (headers['x-forwarded-host'] !== undefined && !isKnown(request.host)) throw refuse(request.host)
  }
}

function isLoopback(host: string): boolean {
  return host === '::1' || /^127\.|^localhost$/i.test(host)
}

/** In the form that browsers send: in lower case, in ASCII, without a trailing dot. */
function normalize(name: string): string {
  return (domainToASCII(name) || name).toLowerCase().replace(/\.$/, '')
}

/** Node keeps the first of several, and does not report the others. */
function countHosts(rawHeaders: readonly string[]): number {
  let count = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    if (name.length === 4 && name.toLowerCase() === 'host') count += 1
  }
  return count
}

function refuse(given: string): ProblemError {
  const { name } = parseAuthority(given) ?? {}
  if (name === undefined)
    return new ProblemError(
      'host_not_allowed',
      'The request does not name one valid host. Send the header Host exactly once, as a host name with an optional port.',
    )
  return new ProblemError(
    'host_not_allowed',
    `This server does not accept the host name ${name}. To accept it, set ALLOWED_HOSTS=${name} (comma-separated) and restart the server.`,
  )
}
