/**
 * Which web pages may use this server: its own, and those of the origins in `ALLOWED_ORIGINS`.
 *
 * Browsers ask before a page reads an answer of another origin (CORS), but let any page open any WebSocket, with the
 * user's network access. So the origin of a WebSocket is checked here, before the upgrade. Programs send no `Origin`.
 * @see https://fetch.spec.whatwg.org/#http-cors-protocol and RFC 6455 section 10.2
 */
import cors from '@fastify/cors'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { splitList } from '../environment.js'
import { ProblemError } from './problem.js'

const EXPOSED_HEADERS = ['location', 'etag', 'retry-after', 'preference-applied']
const PREFLIGHT_SECONDS = 600

/** @param allowedOrigins as in the configuration: `*`, or origins with commas between, or nothing */
export async function registerOrigins(app: FastifyInstance, allowedOrigins: string): Promise<void> {
  if (allowedOrigins === '') return
  const origin = allowedOrigins === '*' ? '*' : splitList(allowedOrigins)
  await app.register(cors, { origin, exposedHeaders: EXPOSED_HEADERS, maxAge: PREFLIGHT_SECONDS })
}

/**
 * The check of a WebSocket's origin. A page of this server has the host it asks for as its own.
 * @returns a function that throws ProblemError `origin_not_allowed`
 */
export function createOriginCheck(allowedOrigins: string): (request: FastifyRequest) => void {
  const allowed = new Set(splitList(allowedOrigins))
  return ({ headers: { origin, host } }) => {
    if (origin === undefined || allowed.has('*') || allowed.has(origin)) return
    if (URL.canParse(origin) && new URL(origin).host === host) return
    throw new ProblemError('origin_not_allowed', `Pages of ${origin} may not open streams here.`)
  }
}
