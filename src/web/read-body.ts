/**
 * Reads a body into memory, within the limits of its route and of the process.
 *
 * It goes into one buffer that grows. A list of what came in would cost a few hundred bytes for each packet or chunk, and a
 * client can send a byte in each.
 */
import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { Bodies } from './bodies.js'
import { responseOf } from './http-server.js'
import { ProblemError } from './problem.js'

/** A body of so many bytes is held until the request is answered: what is made of it is several times as large. */
const LARGE_BYTES = 64 * 1024

export type Done = (error: Error | null, body?: Buffer) => void

/** @param done called once; with ProblemError `body_too_large`, `request_timeout` or `overloaded` when the body is refused */
export function readBody({ raw, routeOptions, headers }: FastifyRequest, payload: IncomingMessage, bodies: Bodies, done: Done): void {
  const maxBytes = routeOptions.bodyLimit
  const announcedBytes = Number(headers['content-length'])
  if (announcedBytes > maxBytes) return done(tooLarge())
  const body = bodies.open(raw, fail)
  let gathered: Buffer = Buffer.alloc(0)
  let length = 0
  let isOver = false

  function take(chunk: Buffer): void {
    if (length + chunk.length > maxBytes) return fail(tooLarge())
    if (length === 0 && chunk.length === announcedBytes) gathered = chunk
    else {
      const grown = append(gathered, length, chunk)
      const grownBytes = grown.length - gathered.length
      gathered = grown
      body.hold(grownBytes)
    }
    length += chunk.length
  }

  function end(): void {
    if (!stop()) return
    body.complete()
    const response = length >= LARGE_BYTES ? responseOf(raw) : undefined
    if (response === undefined || response.closed) body.release()
    else {
      body.hold(length)
      response.once('close', () => body.release())
    }
    done(null, gathered.subarray(0, length))
  }

  function fail(error: Error): void {
    if (!stop()) return
    body.release()
    gathered = Buffer.alloc(0)
    done(error)
  }

  /** The client has gone. */
  const abort = () => fail(Object.assign(new Error('the body was aborted'), { statusCode: 400 }))

  /** @returns whether it was under way until now */
  function stop(): boolean {
    if (isOver) return false
    isOver = true
    payload.off('data', take).off('end', end).off('close', abort)
    return true
  }

  // What comes of a body after it was refused is read and dropped; its error is nobody's.
  payload.on('data', take).on('end', end).on('close', abort).on('error', abort)
}

function tooLarge(): ProblemError {
  return new ProblemError('body_too_large', 'The body has more bytes than this address takes.')
}

/** @returns the same buffer, or a larger one that holds `length` bytes of it and the chunk */
function append(gathered: Buffer, length: number, chunk: Buffer): Buffer {
  const needed = length + chunk.length
  const grown = needed <= gathered.length ? gathered : Buffer.allocUnsafeSlow(Math.max(needed, 2 * gathered.length))
  if (grown !== gathered) gathered.copy(grown, 0, 0, length)
  chunk.copy(grown, length)
  return grown
}
