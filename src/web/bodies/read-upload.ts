/** Reads an upload while it arrives: limited in size, and with a minimum rate. */
import type { IncomingMessage } from 'node:http'
import { Transform, type Readable } from 'node:stream'
import { ProblemError } from '../problem.js'
import type { Bodies } from './body-budget.js'

/**
 * @returns the incoming bytes; it fails with ProblemError `body_too_large` or `request_timeout`. The request is then
 *   left open, so that it can be answered.
 */
export function readUpload(request: IncomingMessage, maxBytes: number, bodies: Bodies): Readable {
  let bytes = 0
  const gate = new Transform({
    transform(chunk: Buffer, _encoding, next) {
      bytes += chunk.length
      upload.count(chunk.length)
      if (bytes > maxBytes) next(new ProblemError('body_too_large', `The file is larger than ${maxBytes} bytes.`))
      else next(null, chunk)
    },
  })
  const upload = bodies.openUpload(request, (problem) => gate.destroy(problem))
  // `pipe` passes on the end, but not a disconnect of the client.
  const abort = () => gate.destroy(Object.assign(new Error('the upload was aborted'), { statusCode: 400 }))
  request.once('close', abort).on('error', abort)
  request.once('end', () =>
    request
      .off('close', abort)
      .off('error', abort)
      .on('error', () => {}),
  )
  gate.once('close', () => upload.close())
  return request.pipe(gate)
}
