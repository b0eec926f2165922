/**
 * Node's HTTP server, with requests that know their answer, and whether the client asked for another protocol.
 *
 * Once upgrades are listened for, Node hands over the connection of every request that asks for one, also while requests before
 * it are not answered: then the answers would come in no order, or never. Such a request is answered like any other instead; a
 * server may ignore the wish (RFC 9110, section 7.8). Node drops what comes behind it in the same packet, so the connection
 * closes after its answer, and the client sends again what was not answered (RFC 9112, section 9.3.2).
 *
 * Node's time limits for requests are off. They count the time in which the server itself does not read on, because it works
 * on a request before, and know no rate: see `connection.ts`.
 */
import { createServer, IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** A request of this server. */
export interface WebRequest extends IncomingMessage {
  response?: ServerResponse
  isUpgradeAsked?: boolean
  /** Whether it has an `Expect` that is not `100-continue`. */
  isExpectationUnknown?: boolean
}

/**
 * @param isFree whether all requests of this connection are answered
 * @param keepAliveMs how long a connection on which everything is answered is kept, in milliseconds
 */
export function createHttpServer(isFree: (socket: Socket) => boolean, keepAliveMs: number): Server {
  class Request extends IncomingMessage implements WebRequest {
    response?: ServerResponse
    isUpgradeAsked?: boolean

    /** Node asks for it once the head of the request is there. */
    get upgrade(): boolean {
      return this.isUpgradeAsked === true && isFree(this.socket)
    }

    set upgrade(isAsked: boolean) {
      this.isUpgradeAsked = isAsked
    }
  }
  // A request without Host is refused by the gate, in words.
  return createServer({ IncomingMessage: Request, headersTimeout: 0, requestTimeout: 0, keepAliveTimeout: keepAliveMs, requireHostHeader: false })
}

/** The answer to a request; undefined for one that did not come over a connection. */
export function responseOf(request: IncomingMessage): ServerResponse | undefined {
  return (request as WebRequest).response
}
