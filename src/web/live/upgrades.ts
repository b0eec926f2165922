/**
 * Tells the requests that ask for a WebSocket from those that ask for another protocol.
 *
 * Once one kind of upgrade is listened for, Node takes every request that asks for any from its parser. What is not for a
 * WebSocket goes back without the wish, and is answered like every other: a server may ignore it (RFC 9110, section 7.8).
 * Some clients ask for HTTP/2 that way with their first request.
 */
import { EventEmitter } from 'node:events'
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { toRawProblem } from '../problem.js'

/** Fields that are about the connection alone. */
const HOP_FIELDS = new Set(['connection', 'upgrade', 'http2-settings'])
/** Node keeps no more fields of a request, and leaves out the rest without a word. */
const MAX_FIELDS = 1_000

/**
 * @param onFailure told of a mistake of ours, which has ended the connection
 * @returns what emits `upgrade`, as the server does, for requests of WebSockets at such addresses
 */
export function splitUpgrades(server: Server, isSocketAddress: (url: string) => boolean, onFailure: (error: unknown, request: IncomingMessage) => void): EventEmitter {
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
 * Lets the server read the request again, as the connection's first. One of which a field was left out is refused: without its
 * length, its body would be read as the next request.
 */
function ignoreUpgrade(server: Server, request: IncomingMessage, connection: Duplex, head: Buffer, persistence: string): void {
  const { method, url, httpVersion, rawHeaders } = request
  if (rawHeaders.length >= 2 * MAX_FIELDS) {
    // Nobody else listens any more.
    connection.on('error', () => {}).end(toRawProblem('head_too_large', `The request has more than ${MAX_FIELDS} headers.`), () => connection.destroy())
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
