/**
 * Confines the errors of a WebSocket to that socket.
 *
 * An exception in a listener of an event emitter ends the process, and with it everyone's streams. So no listener of a
 * socket is attached unguarded: an exception is a bug of ours, which is logged with its context, and closes only its
 * socket with 1011. The client reconnects; the others are not affected.
 */
import type { WebSocket } from '@fastify/websocket'
import type { FastifyRequest } from 'fastify'
import { CLOSE_CODES } from '../../protocol/stream.js'
import { FRAME_BOUNDS, measureJson, type JsonMeasure } from '../bodies/json-text.js'

export interface SocketGuard {
  /** The listener, guarded against exceptions. `describe` says in the log what it was called with. */
  guard<Args extends unknown[]>(
    event: string,
    listener: (...args: Args) => void,
    describe?: (...args: Args) => object,
  ): (...args: Args) => void
  /** The same for asynchronous errors. */
  fail(event: string, error: unknown): void
}

export function guardSocket(socket: WebSocket, request: FastifyRequest): SocketGuard {
  function fail(event: string, error: unknown, details: object = {}): void {
    const path = request.url.split('?')[0]
    request.log.error({ err: error, requestId: request.id, path, event, ...details }, 'a socket failed and was closed')
    socket.close(CLOSE_CODES.internalError, 'internal server error')
  }

  return {
    guard:
      (event, listener, describe) =>
      (...args) => {
        try {
          listener(...args)
        } catch (error) {
          fail(event, error, describe?.(...args))
        }
      },
    fail,
  }
}

/** Describes the shape of a message, without its contents. */
export function describeFrame(
  data: Buffer,
  isBinary: boolean,
): { frame: JsonMeasure & { bytes: number; isBinary: boolean } } {
  return { frame: { bytes: data.length, isBinary, ...measureJson(data.toString(), FRAME_BOUNDS) } }
}
