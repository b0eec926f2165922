/**
 * Refuses requests under a host name that the server does not know (421), or from a page of another origin (403). It
 * runs first, for every request, upgrade and unknown path, before the body is read.
 */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { ProblemError } from '../problem.js'
import { createHostCheck, type HostOptions } from './hosts.js'
import { createOriginCheck } from './origins.js'
import { createRefusalLog } from './refusal-log.js'

export interface GateOptions extends HostOptions {
  /** As in the configuration: `*`, comma-separated origins, or empty. */
  allowedOrigins: string
}

/**
 * Must be registered before everything else that answers. @returns the check, for requests without a route: no hook
 * runs for them
 */
export function registerGate(
  app: FastifyInstance,
  options: GateOptions,
): (reply: FastifyReply) => ProblemError | undefined {
  const assertHost = createHostCheck(options)
  const assertOrigin = createOriginCheck(options.allowedOrigins)
  const logOnce = createRefusalLog(app.log)

  function findRefusal(reply: FastifyReply): ProblemError | undefined {
    const { request } = reply
    if (request.headers.upgrade !== undefined) closeAfterAnswer(reply)
    try {
      assertHost(request)
      assertOrigin(request)
      return undefined
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
      const { method, headers } = request
      const name =
        error.code === 'host_not_allowed' ? `host ${headers.host ?? ''}` : `origin ${headers.origin ?? 'unknown'}`
      logOnce(
        name,
        { code: error.code, method, url: request.originalUrl.slice(0, 200), address: request.ip },
        error.message,
      )
      return error
    }
  }

  app.addHook('onRequest', (_request, reply, done) => done(findRefusal(reply)))
  return findRefusal
}

/**
 * Once an upgrade is requested, no time-out of the server ends the connection. If it is answered in another way, it
 * must be closed here.
 */
function closeAfterAnswer(reply: FastifyReply): void {
  const { socket } = reply.request
  void reply.header('connection', 'close')
  reply.raw.once('finish', () => socket.destroySoon())
}
