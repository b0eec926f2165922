/**
 * Reads a body into memory, within the limits of its route and of the process.
 *
 * The data is copied into blocks (see `body-blocks.ts`). A list of the incoming chunks would cost a few hundred bytes
 * for each packet or chunk, and a client can send one byte in each; also, chunks stay in memory until the next full
 * garbage collection, however early they are dropped.
 */
import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { responseOf } from '../connections/http-server.js'
import { ProblemError } from '../problem.js'
import { GatheredBody } from './body-blocks.js'
import type { Bodies } from './body-budget.js'

/**
 * The budget of a larger body is held until the request is answered: the objects made from it are several times as
 * large.
 */
const LARGE_BYTES = 64 * 1024

export type Done = (error: Error | null, body?: Buffer) => void

/**
 * @param done called once; with ProblemError `body_too_large`, `request_timeout` or `overloaded` if the body is refused
 */
export function readBody(
  { raw, routeOptions, headers }: FastifyRequest,
  payload: IncomingMessage,
  bodies: Bodies,
  done: Done,
): void {
  const maxBytes = routeOptions.bodyLimit
  const announcedBytes = Number(headers['content-length'])
  if (announcedBytes > maxBytes) return done(tooLarge())
  const body = bodies.open(raw, fail)
  const gathered = new GatheredBody(bodies.blocks)
  /** The body, if it arrived in one chunk. */
  let whole: Buffer | undefined
  let length = 0
  let isOver = false

  function take(chunk: Buffer): void {
    if (length + chunk.length > maxBytes) return fail(tooLarge())
    if (length === 0 && chunk.length === announcedBytes) whole = chunk
    else body.hold(gathered.append(chunk))
    length += chunk.length
  }

  function end(): void {
    if (!stop()) return
    const bytes = whole ?? gathered.join()
    gathered.clear()
    body.complete()
    const response = length >= LARGE_BYTES ? responseOf(raw) : undefined
    if (response === undefined || response.closed) body.release()
    else {
      body.hold(length)
      response.once('close', () => body.release())
    }
    done(null, bytes)
  }

  function fail(error: Error): void {
    if (!stop()) return
    body.release()
    gathered.clear()
    done(error)
  }

  /** The client has disconnected. */
  const abort = () => fail(Object.assign(new Error('the body was aborted'), { statusCode: 400 }))

  /** @returns whether it was in progress until now */
  function stop(): boolean {
    if (isOver) return false
    isOver = true
    payload.off('data', take).off('end', end).off('close', abort)
    return true
  }

  // The rest of a refused body is read and dropped, and its errors are ignored.
  payload.on('data', take).on('end', end).on('close', abort).on('error', abort)
}

function tooLarge(): ProblemError {
  return new ProblemError('body_too_large', 'The body is larger than this address accepts.')
}
