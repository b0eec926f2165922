/**
 * Keeps what goes wrong for one WebSocket with that socket.
 *
 * An exception in a listener of an event emitter ends the process, and with it the streams of everybody. So no listener of a
 * socket is attached bare: one that throws is a mistake of ours, which is logged with what it was about, and closes its socket
 * with 1011. The client comes back; nobody else notices.
 */
import type { WebSocket } from '@fastify/websocket'
import type { FastifyRequest } from 'fastify'
import { CLOSE_CODES } from '../../protocol/stream.js'
import { FRAME_BOUNDS, measureJson, type JsonMeasure } from '../bodies/json-text.js'

export interface SocketGuard {
  /** The listener, which cannot throw any more. `describe` says in the log what it was called with. */
  guard<Args extends unknown[]>(event: string, listener: (...args: Args) => void, describe?: (...args: Args) => object): (...args: Args) => void
  /** The same for what fails later. */
  fail(event: string, error: unknown): void
}

export function guardSocket(socket: WebSocket, request: FastifyRequest): SocketGuard {
  function fail(event: string, error: unknown, details: object = {}): void {
    const path = request.url.split('?')[0]
    request.log.error({ err: error, requestId: request.id, path, event, ...details }, 'a socket was closed: something failed for it')
    socket.close(CLOSE_CODES.internalError, 'something went wrong on the server')
  }

  return {
    guard: (event, listener, describe) => (...args) => {
      try {
        listener(...args)
      } catch (error) {
        fail(event, error, describe?.(...args))
      }
    },
    fail,
  }
}

/** What a message looks like, without anything that it says. */
export function describeFrame(data: Buffer, isBinary: boolean): { frame: JsonMeasure & { bytes: number; isBinary: boolean } } {
  return { frame: { bytes: data.length, isBinary, ...measureJson(data.toString(), FRAME_BOUNDS) } }
}
