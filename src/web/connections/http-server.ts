/**
 * Node's HTTP server, with requests that know their answer and whether the client asked for another protocol.
 *
 * Once there is a listener for upgrades, Node detaches the connection of every request that asks for one, even while
 * earlier requests are unanswered: their answers would then be sent out of order, or never. Here such a request is
 * answered like any other; a server may ignore an upgrade (RFC 9110, section 7.8). Node drops what follows it in the
 * same packet, so the connection closes after its answer, and the client repeats the unanswered requests (RFC 9112,
 * section 9.3.2).
 *
 * Node's time limits for requests are off. They include the time when the server itself does not read on, because it
 * works on an earlier request, and have no notion of a rate: see `connection.ts`.
 */
import { createServer, IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** A request of this server. */
export interface WebRequest extends IncomingMessage {
  response?: ServerResponse
  isUpgradeAsked?: boolean
  /** Whether it has an `Expect` other than `100-continue`. */
  isExpectationUnknown?: boolean
}

/**
 * @param isFree whether all requests of this connection are answered
 * @param keepAliveMs how long a connection without unanswered requests is kept, in milliseconds
 */
export function createHttpServer(isFree: (socket: Socket) => boolean, keepAliveMs: number): Server {
  class Request extends IncomingMessage implements WebRequest {
    response?: ServerResponse
    isUpgradeAsked?: boolean

    /** Node asks for it once the head of the request has arrived. */
    get upgrade(): boolean {
      return this.isUpgradeAsked === true && isFree(this.socket)
    }

    set upgrade(isAsked: boolean) {
      this.isUpgradeAsked = isAsked
    }
  }
  // The gate refuses a request without Host, with a message.
  return createServer({
    IncomingMessage: Request,
    headersTimeout: 0,
    requestTimeout: 0,
    keepAliveTimeout: keepAliveMs,
    requireHostHeader: false,
  })
}

/** The answer to a request; undefined if it did not arrive over a connection. */
export function responseOf(request: IncomingMessage): ServerResponse | undefined {
  return (request as WebRequest).response
}
