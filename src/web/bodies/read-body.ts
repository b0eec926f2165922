/**
 * Reads a body into memory, within the limits of its route and of the process.
 *
 * It is copied into blocks (see `body-blocks.ts`). A list of what came in would cost a few hundred bytes for each packet or chunk, and a
 * client can send a byte in each; and what came in stays in memory until the next full garbage collection, however early it is let go.
 */
import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { responseOf } from '../connections/http-server.js'
import { ProblemError } from '../problem.js'
import { GatheredBody } from './body-blocks.js'
import type { Bodies } from './body-budget.js'

/** A body of so many bytes is held until the request is answered: what is made of it is several times as large. */
const LARGE_BYTES = 64 * 1024

export type Done = (error: Error | null, body?: Buffer) => void

/** @param done called once; with ProblemError `body_too_large`, `request_timeout` or `overloaded` when the body is refused */
export function readBody({ raw, routeOptions, headers }: FastifyRequest, payload: IncomingMessage, bodies: Bodies, done: Done): void {
  const maxBytes = routeOptions.bodyLimit
  const announcedBytes = Number(headers['content-length'])
  if (announcedBytes > maxBytes) return done(tooLarge())
  const body = bodies.open(raw, fail)
  const gathered = new GatheredBody(bodies.blocks)
  /** The body, where all of it came at once. */
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
