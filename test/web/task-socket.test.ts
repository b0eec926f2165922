import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { WebSocket, type ClientOptions } from 'ws'
import type { Hub, HubDeps } from '../../src/live/hub.js'
import type { Problem } from '../../src/protocol/errors.js'
import type { StreamMessage } from '../../src/protocol/stream.js'
import { registerGate } from '../../src/web/gate/gate.js'
import { startBeats } from '../../src/web/live/beats.js'
import type { HeartbeatOptions } from '../../src/web/live/heartbeat.js'
import { createStreamLimits, type StreamLimitsOptions } from '../../src/web/live/stream-limits.js'
import { registerTaskSocket } from '../../src/web/live/task-socket.js'
import { registerPrincipal } from '../../src/web/principal.js'
import { answerProblem, ProblemError } from '../../src/web/problem.js'
import { compileValidator } from '../../src/web/validation.js'
import { readFrame } from '../helpers/frame-check.js'
import { ID, openWorld, UNKNOWN_ID, until, type Bus, type Store } from '../live/world.js'

interface Scope {
  teardown(run: () => unknown): unknown
}
interface Web {
  app: FastifyInstance
  /** The open sockets of the server. */
  sockets: ReadonlySet<WebSocket>
  store: Store
  bus: Bus
  hub: Hub
  port: number
  open(path: string, options?: ClientOptions): Watcher
}
interface Watcher {
  socket: WebSocket
  messages: StreamMessage[]
  closed: Promise<{ code: number; reason: string }>
  refused: Promise<{ status: number; type: string | undefined; problem: Problem }>
}

interface AppOptions {
  heartbeat?: HeartbeatOptions
  hub?: Partial<HubDeps>
  limits?: Partial<StreamLimitsOptions>
}

async function startApp(t: Scope, { heartbeat = {}, hub: hubDeps = {}, limits = {} }: AppOptions = {}): Promise<Web> {
  const { store, bus, hub } = await openWorld(t, hubDeps)
  const app = Fastify()
  registerPrincipal(app)
  registerGate(app, {
    host: '127.0.0.1',
    allowedHosts: '',
    allowedOrigins: 'https://app.example.com, http://localhost:8080',
  })
  app.setErrorHandler(answerProblem)
  app.setValidatorCompiler(compileValidator)
  const refuseUnknown = () => {
    throw new ProblemError('not_found', 'There is nothing here.')
  }
  app.setNotFoundHandler(refuseUnknown)
  const deps = {
    hub,
    heartbeat,
    beats: startBeats(15_000, (error) => assert.ifError(error)),
    limits: createStreamLimits({ maxPerAddress: 100, maxPerKey: 100, maxPerProcess: 100, ...limits }),
  }
  let sockets = new Set<WebSocket>()
  await app.register(
    async (scope) => {
      scope.setNotFoundHandler(refuseUnknown)
      await registerTaskSocket(scope, deps)
      sockets = scope.websocketServer.clients
    },
    { prefix: '/ws' },
  )
  app.get('/plain', async () => 'plain')
  app.post('/echo', async ({ body }) => body)
  t.teardown(() => app.close())
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  store.create(ID)
  return {
    app,
    sockets,
    store,
    bus,
    hub,
    port,
    open: (path, options) => openSocket(`ws://127.0.0.1:${port}${path}`, options),
  }
}

function openSocket(url: string, options?: ClientOptions): Watcher {
  const socket = new WebSocket(url, options)
  const messages: StreamMessage[] = []
  socket.on('message', (data: Buffer) => messages.push(readFrame(data.toString())))
  socket.on('error', () => {})
  const closed = once(socket, 'close').then(([code, reason]) => ({ code: Number(code), reason: String(reason) }))
  const refused = once(socket, 'unexpected-response').then(([, answer]) => readRefusal(answer as IncomingMessage))
  closed.catch(() => {})
  refused.catch(() => {})
  return { socket, messages, closed, refused }
}

async function readRefusal(answer: IncomingMessage): Promise<Awaited<Watcher['refused']>> {
  let text = ''
  for await (const chunk of answer) text += chunk
  return { status: answer.statusCode ?? 0, type: answer.headers['content-type'], problem: JSON.parse(text) as Problem }
}

/** An upgrade request as bytes, for clients that behave as `ws` would not. */
function handshake(path: string): string {
  const lines = [
    `GET ${path} HTTP/1.1`,
    'Host: localhost',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
  ]
  return [...lines, 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', ''].join('\r\n')
}

t.test('a watcher is sent the task, its transitions, and the close code of the end', async (t) => {
  const { store, bus, open } = await startApp(t)
  const watcher = open(`/ws/tasks/${ID}`)
  await until(() => watcher.messages.length === 1)
  bus.deliver(store.commit(ID, 'PROCESSING'))
  bus.deliver(store.commit(ID, 'COMPLETED'))
  t.same(await watcher.closed, { code: 1000, reason: 'ended' })
  t.same(
    watcher.messages.map(({ type, status, version }) => [type, status, version]),
    [
      ['snapshot', 'PENDING', 1],
      ['transition', 'PROCESSING', 2],
      ['transition', 'COMPLETED', 3],
    ],
  )
})

t.test('an absolute URL works like a path', async (t) => {
  const { sockets, port } = await startApp(t)
  const line = connect(port, '127.0.0.1')
  t.teardown(() => line.destroy())
  line.write(handshake(`http://127.0.0.1:${port}/ws/tasks/${ID}`))
  const [answer] = (await once(line, 'data')) as [Buffer]
  t.match(answer.toString(), /^HTTP\/1.1 101 /)
  t.equal(sockets.size, 1)
})

t.test('an id in capitals is the same task, and `since` resumes', async (t) => {
  const { store, open } = await startApp(t)
  store.commit(ID, 'CANCELLED')
  const watcher = open(`/ws/tasks/${ID.toUpperCase()}?since=1`)
  t.equal((await watcher.closed).code, 1000)
  t.same(
    watcher.messages.map(({ type, version }) => [type, version]),
    [
      ['resumed', 1],
      ['transition', 2],
    ],
  )
})

t.test('requests are refused before the upgrade, as problem+json', async (t) => {
  const { open, port } = await startApp(t)
  const cases: [string, number, string][] = [
    ['/ws/tasks/not-a-uuid', 400, 'invalid_id'],
    [`/ws/tasks/${ID}?since=-1`, 400, 'invalid_request'],
    [`/ws/tasks/${ID}?since=soon`, 400, 'invalid_request'],
    [`/ws/tasks/${ID}?since=1.5`, 400, 'invalid_request'],
    [`/ws/tasks/${ID}?since=`, 400, 'invalid_request'],
    [`/ws/tasks/${ID}?sinse=1`, 400, 'invalid_request'],
    [`/ws/tasks/${UNKNOWN_ID}`, 404, 'task_not_found'],
    ['/ws/nothing', 404, 'not_found'],
  ]
  for (const [path, status, code] of cases) {
    const { refused } = open(path)
    t.match(await refused, { status, type: /^application\/problem\+json/, problem: { code, status } }, path)
  }
  const plain = await fetch(`http://127.0.0.1:${port}/ws/tasks/${ID}`)
  t.equal(plain.status, 426)
  t.equal(plain.headers.get('upgrade'), 'websocket')
  t.match(await plain.json(), { code: 'upgrade_required' })
})

t.test('a request for an upgrade other than WebSocket is answered like any other request', async (t) => {
  const { port } = await startApp(t)
  const asks = ['Host: localhost', 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk']
  const ask = async (text: string) => {
    const line = connect(port, '127.0.0.1')
    t.teardown(() => line.destroy())
    // Two writes, because the rest of a body may arrive later.
    line.write(text.slice(0, -4))
    await new Promise((resolve) => setTimeout(resolve, 50))
    line.write(text.slice(-4))
    let said = ''
    line.on('data', (data: Buffer) => (said += data.toString()))
    await until(() => said.endsWith('plain') || said.endsWith('"kept"}'))
    const first = said
    // The connection accepts another request.
    line.write('GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await until(() => said.length > first.length && said.endsWith('plain'))
    return first
  }
  t.match(await ask(['GET /plain HTTP/1.1', ...asks, '', ''].join('\r\n')), /^HTTP\/1.1 200 OK/)
  const body = '{"body":"kept"}'
  const post = [
    'POST /echo HTTP/1.1',
    ...asks,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n')
  t.match(await ask(post), /^HTTP\/1.1 200 OK[^]*\{"body":"kept"\}$/)
})

t.test('a body is never parsed as a request, however many headers come before its length', async (t) => {
  const { port } = await startApp(t)
  const line = connect(port, '127.0.0.1')
  let said = ''
  line.on('data', (data: Buffer) => (said += data.toString()))
  const body = 'GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n'
  const fields = [
    'Host: localhost',
    'Connection: Upgrade',
    'Upgrade: h2c',
    ...Array.from({ length: 1_100 }, () => 'a:'),
    `Content-Length: ${body.length}`,
  ]
  line.end(['POST /echo HTTP/1.1', ...fields, '', body].join('\r\n'))
  await once(line, 'close')
  t.match(said, /^HTTP\/1.1 431 /)
  t.notMatch(said, 'plain')
})

t.test('while PostgreSQL is away, the upgrade is refused with 503', async (t) => {
  const readTasks = () => Promise.reject(Object.assign(new Error('away'), { code: 'ECONNREFUSED' }))
  const { open } = await startApp(t, { hub: { readTasks } })
  t.match(await open(`/ws/tasks/${ID}`).refused, { status: 503, problem: { code: 'unavailable' } })
})

t.test('a refused upgrade leaves no connection behind, and other routes still work', async (t) => {
  const { app, port } = await startApp(t)
  for (const path of ['/ws/tasks/not-a-uuid', `/ws/tasks/${UNKNOWN_ID}`, '/nothing']) {
    const raw = connect(port, '127.0.0.1').resume()
    raw.write(handshake(path))
    await once(raw, 'close')
  }
  t.equal(await (await fetch(`http://127.0.0.1:${port}/plain`, { headers: { connection: 'close' } })).text(), 'plain')
  const count = await new Promise<number>((resolve) => app.server.getConnections((_error, open) => resolve(open)))
  t.equal(count, 0)
})

t.test('a message is answered with 4500, even one that arrives together with the handshake', async (t) => {
  const { hub, open, port } = await startApp(t)
  const watcher = open(`/ws/tasks/${ID}`)
  await until(() => watcher.messages.length === 1)
  watcher.socket.send('hello')
  t.same(await watcher.closed, { code: 4500, reason: 'this stream accepts no messages' })

  const raw = connect(port, '127.0.0.1')
  const received: Buffer[] = []
  raw.on('data', (chunk: Buffer) => received.push(chunk))
  const textFrame = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69])
  raw.write(Buffer.concat([Buffer.from(handshake(`/ws/tasks/${ID}`)), textFrame]))
  const closeFrame = Buffer.from([0x88, 33, 4500 >> 8, 4500 & 0xff])
  await until(() => Buffer.concat(received).includes(closeFrame))
  raw.destroy()
  await until(() => hub.counts().streams === 0)
})

t.test('a frame above the limit is answered with 1009', async (t) => {
  const { open } = await startApp(t)
  const watcher = open(`/ws/tasks/${ID}`)
  await once(watcher.socket, 'open')
  watcher.socket.send('x'.repeat(128 * 1024 + 1))
  t.equal((await watcher.closed).code, 1009)
})

t.test('a watcher that disconnects in any way is forgotten', async (t) => {
  const { hub, open } = await startApp(t)
  const [polite, rude] = [open(`/ws/tasks/${ID}`), open(`/ws/tasks/${ID}`)]
  await until(() => polite.messages.length + rude.messages.length === 2)
  t.equal(hub.counts().streams, 2)
  polite.socket.close()
  rude.socket.terminate()
  await until(() => hub.counts().streams === 0)
})

t.test('a client that answers pings stays, a silent one is closed with 4003', async (t) => {
  const { open } = await startApp(t, { heartbeat: { pingMs: 40, maxSilenceMs: 200 } })
  const alive = open(`/ws/tasks/${ID}`)
  const silent = open(`/ws/tasks/${ID}`, { autoPong: false })
  t.equal((await silent.closed).code, 4003)
  for (let ping = 0; ping < 6; ping += 1) await once(alive.socket, 'ping')
  t.equal(alive.socket.readyState, alive.socket.OPEN)
})

t.test('a slow client costs a bounded buffer, and receives every transition when it reads on', async (t) => {
  const { sockets, store, bus, open } = await startApp(t)
  const watcher = open(`/ws/tasks/${ID}`)
  await until(() => watcher.messages.length === 1)
  watcher.socket.pause()
  let maxBuffered = 0
  for (let version = 2; version <= 2_001; version += 1) {
    const reason = 'x'.repeat(5_000)
    bus.deliver(store.commit(ID, version % 2 ? 'PENDING' : 'PROCESSING', { reason }))
    for (const socket of sockets) maxBuffered = Math.max(maxBuffered, socket.bufferedAmount)
    if (version % 50 === 0) await new Promise(setImmediate)
  }
  t.ok(maxBuffered > 16 * 1024, 'the socket was full')
  t.ok(maxBuffered < 80 * 1024, `${maxBuffered} bytes at most`)
  bus.deliver(store.commit(ID, 'CANCELLED'))
  t.ok(watcher.messages.length < 2_002)
  watcher.socket.resume()
  t.equal((await watcher.closed).code, 1000)
  t.same(
    watcher.messages.map(({ version }) => version),
    Array.from({ length: 2_002 }, (_, index) => index + 1),
  )
})

t.test('when the application closes, watchers are told to reconnect, and unresponsive ones are cut off', async (t) => {
  const { app, sockets, open, port } = await startApp(t)
  const watcher = open(`/ws/tasks/${ID}`)
  const deaf = connect(port, '127.0.0.1').on('error', () => {})
  deaf.write(handshake(`/ws/tasks/${ID}`))
  await until(() => watcher.messages.length === 1 && sockets.size === 2)
  const cutOff = once(deaf, 'close')
  const closing = app.close()
  t.match(await watcher.closed, { code: 1012, reason: /^retryAfterMs=\d+$/ })
  // The unresponsive client reads nothing until the server has closed, so the server did not wait for it.
  await closing
  deaf.resume()
  await cutOff
})

t.test('an address, a key and the process have stream limits, and closing one makes room', async (t) => {
  const limits: [Partial<StreamLimitsOptions>, object][] = [
    [
      { maxPerAddress: 2 },
      {
        status: 429,
        problem: { code: 'too_many_streams', detail: '127.0.0.1 has 2 streams open.', fix: /MAX_STREAMS_PER_ADDRESS/ },
      },
    ],
    [
      { maxPerKey: 2 },
      {
        status: 429,
        problem: { code: 'too_many_streams', detail: 'This key has 2 streams open.', fix: /MAX_STREAMS_PER_KEY/ },
      },
    ],
    [{ maxPerProcess: 2 }, { status: 503, problem: { code: 'overloaded' } }],
  ]
  const key = { headers: { authorization: 'Bearer a-key' } }
  for (const [given, refusal] of limits) {
    const web = await startApp(t, { limits: given })
    const [first] = [web.open(`/ws/tasks/${ID}`, key), web.open(`/ws/tasks/${ID}`, key)]
    while (web.hub.counts().streams < 2) await new Promise(setImmediate)
    t.match(await web.open(`/ws/tasks/${ID}`, key).refused, refusal)
    first?.socket.close()
    while (web.hub.counts().streams > 1) await new Promise(setImmediate)
    const next = web.open(`/ws/tasks/${ID}`, key)
    await once(next.socket, 'open')
    t.equal(web.hub.counts().streams, 2)
  }
})

t.test('pages of this server and of allowed origins open streams, others are refused before the upgrade', async (t) => {
  const { open, port } = await startApp(t)
  for (const origin of [`http://127.0.0.1:${port}`, 'https://app.example.com', 'http://localhost:8080']) {
    await once(open(`/ws/tasks/${ID}`, { origin }).socket, 'open')
  }
  for (const origin of [
    'https://evil.example.com',
    'null',
    'http://127.0.0.1:1',
    'https://app.example.com.evil.example',
  ]) {
    const { status, problem } = await open(`/ws/tasks/${ID}`, { origin }).refused
    t.match(
      { status, problem },
      { status: 403, problem: { code: 'origin_not_allowed', fix: /ALLOWED_ORIGINS/ } },
      origin,
    )
  }
})
