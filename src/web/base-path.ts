/**
 * Behind a proxy the server may be served under a path of its own (`BASE_PATH`). Some proxies strip that path, others
 * do not. Both work, because it is removed here if it is present. Links in answers include it in either case (see
 * `protocol/base-path.ts`).
 */
import type { FastifyInstance } from 'fastify'

/** The start of a full URL, as sent through a proxy (RFC 9112, section 3.2.2). */
const AUTHORITY = /^https?:\/\/[^/?#]*/i

/** The path for routing: without scheme, host and base path. */
export function stripBasePath(basePath: string, url: string): string {
  const path = url.startsWith('/') ? url : url.replace(AUTHORITY, '') || '/'
  if (basePath === '' || !path.startsWith(basePath)) return path
  const rest = path.slice(basePath.length)
  if (rest === '' || rest.startsWith('?')) return `${NO_SLASH}${rest}`
  return rest.startsWith('/') ? rest : path
}

/** `/taskwire` is rewritten to this. The links of the page are relative, so it must be requested as `/taskwire/`. */
const NO_SLASH = '/.base'

export function redirectToPage(app: FastifyInstance, basePath: string): void {
  if (basePath !== '')
    app.get(NO_SLASH, { schema: { hide: true } }, async (_request, reply) => reply.redirect(`${basePath}/`, 308))
}
