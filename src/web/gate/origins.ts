/**
 * The web pages that may use this server: its own, and those of the origins in `ALLOWED_ORIGINS`.
 *
 * A browser sends requests for any page, with the network access of its user; it only hides the answer from the page
 * (CORS). By then a form, a beacon, a `no-cors` fetch or a WebSocket has already had its effect. So a request from a
 * page of another origin is refused before its body is read, unless it only reads what is public: the files of the
 * page, documents, health, signed links. Below `/api` and `/ws` everything is refused, because a stream has a cost and
 * a wait holds a connection; only a link that a person follows (a top-level navigation) may read there.
 *
 * A page of another origin is recognised by `Origin`, which must match this server exactly, including scheme and port,
 * and by `Sec-Fetch-Site`, which covers requests without `Origin`. A page can forge neither. Programs send neither.
 * @see https://www.w3.org/TR/fetch-metadata/ and RFC 6455, section 10.2
 */
import cors from '@fastify/cors'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { splitList } from '../../environment.js'
import { EXPOSED_HEADERS } from '../docs/response-headers.js'
import { ProblemError } from '../problem.js'
import { originOf, parseAuthority } from './authority.js'

const PREFLIGHT_SECONDS = 600
/** The methods of REST; any other method of a route is added. */
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']
const OWN_SITE = new Set([undefined, 'same-origin', 'none'])
const PRIVATE_ROUTE = /^\/(api|ws)\//
const ORIGIN = /^https?:\/\/([^/?#@\s]+)$/i

/**
 * Lets pages of allowed origins read answers. Call it before the routes whose methods it allows.
 * @param allowedOrigins as in the configuration: `*`, comma-separated origins, or empty
 */
export async function registerOrigins(app: FastifyInstance, allowedOrigins: string): Promise<void> {
  if (allowedOrigins === '') return
  const methods = new Set(METHODS)
  app.addHook('onRoute', ({ method }) => {
    for (const name of [method].flat()) if (name !== 'OPTIONS') methods.add(name)
  })
  const origin = allowedOrigins === '*' ? '*' : splitList(allowedOrigins)
  // Computed for each request, because the routes are registered later.
  await app.register(cors, {
    delegator: (_request, done) =>
      done(null, {
        origin,
        methods: [...methods],
        exposedHeaders: EXPOSED_HEADERS,
        maxAge: PREFLIGHT_SECONDS,
        strictPreflight: false,
      }),
  })
}

/** @returns a function that throws ProblemError `origin_not_allowed` */
export function createOriginCheck(allowedOrigins: string): (request: FastifyRequest) => void {
  const listed = new Set(splitList(allowedOrigins))

  function isForeign(request: FastifyRequest): boolean {
    const { origin, 'sec-fetch-site': site } = request.headers
    if (origin === undefined) return !OWN_SITE.has(site as string | undefined) && !listed.has('*')
    if (listed.has('*') || listed.has(origin)) return false
    return !OWN_SITE.has(site as string | undefined) || !isOwnOrigin(origin, request)
  }

  return (request) => {
    if (request.method === 'OPTIONS' || !isForeign(request) || onlyReads(request)) return
    throw new ProblemError('origin_not_allowed', describeRefusal(request))
  }
}

/** A page at `https://name` has the same origin as one at `https://name:443`. */
function isOwnOrigin(origin: string, { host, protocol }: FastifyRequest): boolean {
  const [, authority] = ORIGIN.exec(origin) ?? []
  if (authority === undefined) return false
  const given = originOf(origin.slice(0, origin.indexOf(':')), authority)
  if (given === undefined) return false
  // A name with port 443 was requested over TLS, whatever the proxy that terminated it reports.
  return (
    given === originOf(isTls(protocol) ? 'https' : 'http', host) ||
    (parseAuthority(host)?.port === '443' && given === originOf('https', host))
  )
}

/** A proxy may name the protocol of a WebSocket. */
export function isTls(protocol: string): boolean {
  return /^(https|wss)$/i.test(protocol)
}

function onlyReads({ method, headers, routeOptions: { url = '' } }: FastifyRequest): boolean {
  if ((method !== 'GET' && method !== 'HEAD') || headers.upgrade !== undefined) return false
  const isNavigation = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
  return isNavigation || !PRIVATE_ROUTE.test(url)
}

/** Says which setting to change. For a page with the same name, the proxy in front is not trusted yet. */
function describeRefusal({ headers: { origin }, host, protocol }: FastifyRequest): string {
  if (origin === undefined) return 'According to the browser, a page of another site sent this request.'
  const own = `${protocol}://${host}`
  const name = parseAuthority(ORIGIN.exec(origin)?.[1] ?? '')?.name
  if (name === undefined || name !== parseAuthority(host)?.name)
    return `Pages of ${origin} may not use this server, which is ${own}. To allow them, set ALLOWED_ORIGINS=${origin}.`
  return (
    `A page of ${origin} sent this request, but it arrived here as ${own}. Behind a proxy, set TRUST_PROXY to the address of the proxy, and make it send ` +
    `Host (with the port), X-Forwarded-Proto and X-Forwarded-For: see docs/proxies.md.`
  )
}
