/**
 * Separates requests for a WebSocket from requests for other protocols.
 *
 * Once there is a listener for upgrades, Node detaches every request that asks for any upgrade from its parser. A
 * request for another protocol is returned without its upgrade, and answered like every other: a server may ignore an
 * upgrade (RFC 9110, section 7.8). Some clients ask for HTTP/2 in this way with their first request.
 */
import { EventEmitter } from 'node:events'
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { toRawProblem } from '../problem.js'

/** Header fields that concern only the connection. */
const HOP_FIELDS = new Set(['connection', 'upgrade', 'http2-settings'])
/** Node keeps no more header fields of a request, and drops the rest silently. */
const MAX_FIELDS = 1_000

/**
 * @param onFailure receives a bug of ours, which has closed the connection
 * @returns an emitter of `upgrade`, like the server, for WebSocket requests at these addresses
 */
export function splitUpgrades(
  server: Server,
  isSocketAddress: (url: string) => boolean,
  onFailure: (error: unknown, request: IncomingMessage) => void,
): EventEmitter {
  const sockets = new EventEmitter()
  server.on('upgrade', (request: IncomingMessage, connection: Duplex, head: Buffer) => {
    const isSocket = request.headers.upgrade?.toLowerCase() === 'websocket'
    try {
      if (isSocket && isSocketAddress(request.url ?? '')) sockets.emit('upgrade', request, connection, head)
      // A WebSocket client has no use for the connection after another answer.
      else ignoreUpgrade(server, request, connection, head, isSocket ? 'close' : 'keep-alive')
    } catch (error) {
      onFailure(error, request)
      connection.destroy()
    }
  })
  return sockets
}

/**
 * Lets the server read the request again, as the first of the connection. A request from which a header was dropped is
 * refused: without its length, its body would be read as the next request.
 */
function ignoreUpgrade(
  server: Server,
  request: IncomingMessage,
  connection: Duplex,
  head: Buffer,
  persistence: string,
): void {
  const { method, url, httpVersion, rawHeaders } = request
  if (rawHeaders.length >= 2 * MAX_FIELDS) {
    // No other listener is left.
    connection
      .on('error', () => {})
      .end(toRawProblem('head_too_large', `The request has more than ${MAX_FIELDS} headers.`), () =>
        connection.destroy(),
      )
    return
  }
  const fields = [`connection: ${persistence}\r\n`]
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const [name = '', value = ''] = rawHeaders.slice(index, index + 2)
    if (!HOP_FIELDS.has(name.toLowerCase())) fields.push(`${name}: ${value}\r\n`)
  }
  const text = Buffer.from(`${method} ${url} HTTP/${httpVersion}\r\n${fields.join('')}\r\n`, 'latin1')
  connection.unshift(Buffer.concat([text, head]))
  server.emit('connection', connection)
}
