/**
 * Refuses compressed bodies. Nothing here decompresses them, so a JSON body would be misread and a file would be stored
 * with a wrong type.
 */
import type { FastifyInstance } from 'fastify'
import { ProblemError } from '../problem.js'

/** @see https://www.rfc-editor.org/rfc/rfc9110#section-8.4 */
export function registerCodings(app: FastifyInstance): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const { 'content-encoding': content = 'identity', 'transfer-encoding': transfer = 'chunked' } = request.headers
    done(
      isNamed(content, 'identity') && isNamed(transfer, 'chunked')
        ? undefined
        : new ProblemError(
            'unsupported_media_type',
            'The body is compressed. Send it uncompressed, without Content-Encoding, and with no Transfer-Encoding other than chunked.',
          ),
    )
  })
}

function isNamed(coding: string, name: string): boolean {
  return coding === name || coding.trim().toLowerCase() === name
}
