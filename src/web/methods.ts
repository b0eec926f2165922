/**
 * The methods of an address: `OPTIONS` lists them (204 with `Allow`, RFC 9110 section 9.3.7), and so does the answer to a
 * method that it does not support (405, section 15.5.6).
 */
import type { FastifyInstance } from 'fastify'
import { ProblemError } from './problem.js'

/**
 * Records the routes that are registered from now on.
 * @returns a function to be called once all are registered: it registers the routes that list the methods and refuse
 *   the others
 */
export function registerMethods(app: FastifyInstance): () => void {
  const methods = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    // Routes that match any address, such as the files of the page or the answers to preflights, have no list of
    // methods.
    if (url.includes('*')) return
    methods.set(url, new Set([...(methods.get(url) ?? []), ...[method].flat()]))
  })
  return () => {
    for (const [url, known] of [...methods]) refuseOthers(app, url, [...known])
  }
}

function refuseOthers(app: FastifyInstance, url: string, known: readonly string[]): void {
  const allow = known.join(', ')
  // Where pages of other origins are allowed, the hook for their preflights answers before this.
  app.options(url, { schema: { hide: true } }, (_request, reply) => reply.code(204).header('allow', allow).send())
  const others = app.supportedMethods.filter((method) => !known.includes(method) && method !== 'OPTIONS')
  app.route({
    url,
    method: others,
    schema: { hide: true },
    // Before the body is read, because it does not matter here.
    async onRequest(request, reply) {
      reply.header('allow', allow)
      throw new ProblemError(
        'method_not_allowed',
        `${request.method} is not supported here; ${known.join(' and ')} ${known.length === 1 ? 'is' : 'are'}.`,
      )
    },
    handler: () => undefined,
  })
}
