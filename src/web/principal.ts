/** The one hook that says who asks: before any route, for WebSockets and streams as well. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { DEFAULT_PRINCIPAL, type Principal } from '../access/principal.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; the same for as long as the connection of a stream is open. */
    principal: Principal
  }
}

/** Says who asks. @throws ProblemError to refuse the request */
export type Identify = (request: FastifyRequest) => Principal

/**
 * Registers the hook: hooks and routes that are registered after it find `request.principal`.
 * @param identify default: everybody is the default principal
 */
export function registerPrincipal(app: FastifyInstance, identify: Identify = () => DEFAULT_PRINCIPAL): void {
  app.decorateRequest('principal')
  app.addHook('onRequest', (request, _reply, done) => {
    request.principal = identify(request)
    done()
  })
}
