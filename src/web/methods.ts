/**
 * A wrong method at an existing address is answered with the supported methods (405 with `Allow`, RFC 9110 section
 * 15.5.6).
 */
import type { FastifyInstance } from 'fastify'
import { ProblemError } from './problem.js'

/**
 * Records the routes that are registered from now on.
 * @returns a function to be called once all are registered: it registers the routes that refuse the other methods
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
  // OPTIONS is handled by the answers to preflights.
  const others = app.supportedMethods.filter((method) => !known.includes(method) && method !== 'OPTIONS')
  app.route({
    url,
    method: others,
    schema: { hide: true },
    // Before the body is read, because it does not matter here.
    async onRequest(request, reply) {
      reply.header('allow', known.join(', '))
      throw new ProblemError(
        'method_not_allowed',
        `${request.method} is not supported here; ${known.join(' and ')} ${known.length === 1 ? 'is' : 'are'}.`,
      )
    },
    handler: () => undefined,
  })
}
