/** Streams over plain HTTP with misbehaving clients: each must release its resources. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import Fastify from 'fastify'
import t from 'tap'
import type { Hub } from '../../src/live/hub.js'
import { startBeats } from '../../src/web/live/beats.js'
import { SERVER_SENT_EVENTS } from '../../src/web/live/event-format.js'
import { HttpStreams } from '../../src/web/live/http-stream.js'
import type { OpenSubscriptions } from '../../src/web/live/subscription-socket.js'
import { registerPrincipal } from '../../src/web/principal.js'
import type { TestScope } from '../helpers/services.js'

const beats = startBeats(15_000, (error) => assert.ifError(error))
const openSubscriptions: OpenSubscriptions = () => assert.fail('no selection is followed here')

function signal<Value = void>() {
  let give: (value: Value) => void = () => {}
  const given = new Promise<Value>((resolve) => (give = resolve))
  return { given, give }
}

/** A server whose `/stream` starts when `begin` is called, and whose `/wait` is never answered. */
async function serve(t: TestScope) {
  const said: string[] = []
  const hub = {
    attach: () => (said.push('attached'), { drained() {}, stop: () => said.push('stopped') }),
  } as unknown as Hub
  const streams = new HttpStreams({ hub, openSubscriptions, beats })
  const app = Fastify()
  registerPrincipal(app)
  const asked = signal<Socket>()
  const begin = signal()
  const ended = signal()
  app.get('/wait', () => new Promise(() => {}))
  app.get('/stream', async (request, reply) => {
    asked.give(request.raw.socket)
    await begin.given
    streams.follow('id', { format: SERVER_SENT_EVENTS, onEnd: () => ended.give() }, reply)
    return reply
  })
  t.teardown(async () => {
    streams.stop()
    app.server.closeAllConnections()
    await app.close()
  })
  await app.listen({ port: 0 })
  const { port } = app.server.address() as AddressInfo
  const client = connect(port, '127.0.0.1')
  await once(client, 'connect')
  return { client, said, asked: asked.given, begin: begin.give, ended: ended.given }
}

t.test('a client that disconnects before its stream starts leaves nothing behind', async (t) => {
  const { client, said, asked, begin, ended } = await serve(t)
  client.write('GET /stream HTTP/1.1\r\nhost: x\r\n\r\n')
  const socket = await asked
  const closed = once(socket, 'close')
  client.destroy()
  await closed
  begin()
  await ended
  t.same(said, ['attached', 'stopped'])
})

t.test('a client whose stream waits behind an earlier response leaves nothing behind, either', async (t) => {
  const { client, said, begin, ended } = await serve(t)
  begin()
  client.write('GET /wait HTTP/1.1\r\nhost: x\r\n\r\nGET /stream HTTP/1.1\r\nhost: x\r\n\r\n')
  while (said.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  client.destroy()
  await ended
  t.same(said, ['attached', 'stopped'])
})
