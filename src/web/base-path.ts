/**
 * Behind a proxy the server may lie under a path of its own (`BASE_PATH`). Proxies strip that path, or they do not: both work, because
 * it is taken off here where it is there. Links in answers have it either way (see `protocol/base-path.ts`).
 */
import type { FastifyInstance } from 'fastify'

/** All of an address, as through a proxy (RFC 9112, section 3.2.2). */
const AUTHORITY = /^https?:\/\/[^/?#]*/i

/** The path by which a route is found: without scheme and host, and without the base path. */
export function stripBasePath(basePath: string, url: string): string {
  const path = url.startsWith('/') ? url : url.replace(AUTHORITY, '') || '/'
  if (basePath === '' || !path.startsWith(basePath)) return path
  const rest = path.slice(basePath.length)
  if (rest === '' || rest.startsWith('?')) return `${NO_SLASH}${rest}`
  return rest.startsWith('/') ? rest : path
}

/** What `/taskwire` becomes: the page's links are relative, so that it must be asked for as `/taskwire/`. */
const NO_SLASH = '/.base'

export function redirectToPage(app: FastifyInstance, basePath: string): void {
  if (basePath !== '') app.get(NO_SLASH, { schema: { hide: true } }, async (_request, reply) => reply.redirect(`${basePath}/`, 308))
}
