/** Reads an upload as it comes: no more bytes than it may have, and not slower than it may be. */
import type { IncomingMessage } from 'node:http'
import { Transform, type Readable } from 'node:stream'
import { ProblemError } from '../problem.js'
import type { Bodies } from './body-budget.js'

/**
 * @returns what comes; it fails with ProblemError `body_too_large` or `request_timeout`. The request is left open then, so that
 * it can be answered.
 */
export function readUpload(request: IncomingMessage, maxBytes: number, bodies: Bodies): Readable {
  let bytes = 0
  const gate = new Transform({
    transform(chunk: Buffer, _encoding, next) {
      bytes += chunk.length
      upload.count(chunk.length)
      if (bytes > maxBytes) next(new ProblemError('body_too_large', `A file may have ${maxBytes} bytes.`))
      else next(null, chunk)
    },
  })
  const upload = bodies.openUpload(request, (problem) => gate.destroy(problem))
  // `pipe` passes on the end, and not that the client has gone.
  const abort = () => gate.destroy(Object.assign(new Error('the upload was aborted'), { statusCode: 400 }))
  request.once('close', abort).on('error', abort)
  request.once('end', () => request.off('close', abort).off('error', abort).on('error', () => {}))
  gate.once('close', () => upload.close())
  return request.pipe(gate)
}
