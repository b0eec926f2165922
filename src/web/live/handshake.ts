/**
 * Refuses an upgrade that is not a valid WebSocket handshake (RFC 6455, section 4.2.1) with a problem, before `ws`
 * would answer it with its own text.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ProblemError } from '../problem.js'

/** 16 bytes in base64. */
const KEY = /^[A-Za-z0-9+/]{22}==$/
/** Comma-separated tokens. */
const PROTOCOLS = /^[\t ]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+([\t ]*,[\t ]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+)*[\t ]*$/
/** The versions that `ws` supports. */
const VERSIONS = ['13', '8']

/**
 * For `preValidation` of a WebSocket route.
 * @throws ProblemError `upgrade_required` for a plain request or another version, `invalid_request` for a malformed
 *   header
 */
export async function assertHandshake(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { method, headers, url } = request
  if (!request.ws || method !== 'GET')
    throw new ProblemError('upgrade_required', `${url.split('?')[0]} is a WebSocket.`)
  if (!KEY.test(headers['sec-websocket-key'] ?? ''))
    throw refuse('sec-websocket-key', 'must be 16 random bytes in base64')
  if (!VERSIONS.includes(headers['sec-websocket-version'] ?? '')) {
    reply.header('sec-websocket-version', VERSIONS.join(', '))
    throw new ProblemError('upgrade_required', `The header Sec-WebSocket-Version must be ${VERSIONS[0]}.`)
  }
  const protocols = headers['sec-websocket-protocol']
  if (protocols === undefined) return
  const names = protocols.split(',').map((name) => name.trim())
  if (!PROTOCOLS.test(protocols) || new Set(names).size < names.length)
    throw refuse('sec-websocket-protocol', 'must be distinct, comma-separated tokens')
}

function refuse(name: string, detail: string): ProblemError {
  return new ProblemError('invalid_request', `The header ${name} ${detail}.`, [
    { pointer: `/${name}`, detail, fix: 'Open the address with a WebSocket client.' },
  ])
}
