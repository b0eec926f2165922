/**
 * The reference for `fan-out`: a bare ws server that sends every message from the same Redis channels to every client,
 * and closes all connections when a task has ended.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import { WebSocketServer } from 'ws'

const subscriber = new Redis(process.env['REDIS_URL'] ?? '')
const http = createServer()
const server = new WebSocketServer({ server: http, perMessageDeflate: false })
server.on('connection', (socket) => socket.send('{"type":"hello"}'))
subscriber.on('pmessage', (_pattern: string, _channel: string, text: string) => {
  for (const socket of server.clients) socket.send(text)
  if (text.includes('"status":"COMPLETED"')) for (const socket of server.clients) socket.close(1000, 'ended')
})
await subscriber.psubscribe('taskwire:*:events')
http.listen(0, '127.0.0.1', () => {
  process.send?.({ type: 'ready', address: `http://127.0.0.1:${(http.address() as AddressInfo).port}` })
})
process.once('SIGTERM', () => process.exit(0))
process.once('disconnect', () => process.exit(0))
