/** The one hook that makes the principal of a request, before any route, also for WebSockets and streams. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { DEFAULT_PRINCIPAL, type Principal } from '../access/principal.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** On whose behalf the request acts. It stays the same while the connection of a stream is open. */
    principal: Principal
  }
}

/** Makes the principal of a request; it may look it up. @throws ProblemError to refuse the request */
export type Identify = (request: FastifyRequest) => Principal | Promise<Principal>

/**
 * Registers the hook. Hooks and routes registered after it can read `request.principal`.
 * @param identify default: the default principal for every request
 */
export function registerPrincipal(app: FastifyInstance, identify: Identify = () => DEFAULT_PRINCIPAL): void {
  app.decorateRequest('principal')
  app.addHook('onRequest', async (request) => {
    request.principal = await identify(request)
  })
}
