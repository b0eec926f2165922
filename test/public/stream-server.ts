/** A small server that speaks the stream protocol and misbehaves as the test says. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'
import type { StreamMessage } from '../../src/protocol/stream.js'
import { readFrame } from '../helpers/frame-check.js'

export interface StreamServerOptions {
  /** Called for each stream. `since` is undefined if the client holds no task; `index` counts the streams from 0. */
  onStream(stream: TestStream, since: number | undefined, index: number): void
  /** Whether to refuse this upgrade, counted from 0. A browser client would not see the reason. */
  isRefused?(index: number): boolean
  /** Answers plain requests. */
  onRequest?(request: IncomingMessage, response: ServerResponse): void
}

export interface TestStream {
  socket: WebSocket
  send(...messages: StreamMessage[]): void
}

export interface StreamServer {
  baseUrl: string
  /** The time of each upgrade request, by the clock of `performance.now()`. */
  upgradesAt: number[]
}

export async function startStreamServer(
  t: { teardown(action: () => unknown): void },
  options: StreamServerOptions,
): Promise<StreamServer> {
  const upgradesAt: number[] = []
  const http = createServer((request, response) => {
    if (options.onRequest) options.onRequest(request, response)
    else response.writeHead(503).end()
  })
  const sockets = new WebSocketServer({ noServer: true })
  let streamCount = 0
  http.on('upgrade', (request: IncomingMessage, connection: Duplex, head: Buffer) => {
    upgradesAt.push(performance.now())
    if (options.isRefused?.(upgradesAt.length - 1)) {
      connection.end('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
      return
    }
    sockets.handleUpgrade(request, connection, head, (socket) => {
      const since = new URL(request.url ?? '', 'http://test').searchParams.get('since')
      const send = (...messages: StreamMessage[]): void =>
        messages.map((message) => JSON.stringify(message)).forEach((text) => readFrame(text) && socket.send(text))
      options.onStream({ socket, send }, since === null ? undefined : Number(since), streamCount++)
    })
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  t.teardown(() => {
    sockets.clients.forEach((socket) => socket.terminate())
    http.closeAllConnections()
    http.close()
  })
  const address = http.address()
  if (address === null || typeof address === 'string') throw new Error('the test server has no port')
  return { baseUrl: `http://127.0.0.1:${address.port}`, upgradesAt }
}
