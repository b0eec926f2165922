/** A bug of ours ends one socket and nothing else. The test injects the bugs; everything else is the real server. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import Fastify from 'fastify'
import { pino } from 'pino'
import t from 'tap'
import { WebSocket } from 'ws'
import type { Hub, Sink } from '../../src/live/hub.js'
import { Subscriptions, type SubscriptionsDeps } from '../../src/live/subscriptions.js'
import type { SubscribeRequest } from '../../src/protocol/subscription.js'
import { startBeats } from '../../src/web/live/beats.js'
import { assertHandshake } from '../../src/web/live/handshake.js'
import { createStreamLimits } from '../../src/web/live/stream-limits.js'
import { registerSubscriptionSocket, type OpenSubscriptions } from '../../src/web/live/subscription-socket.js'
import { registerTaskSocket } from '../../src/web/live/task-socket.js'
import { registerPrincipal } from '../../src/web/principal.js'
import { answerProblem } from '../../src/web/problem.js'

const ID = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'
const lines: Record<string, unknown>[] = []
const log = pino({ level: 'warn' }, { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) })
const boom = (what: string) => new Error(`boom in ${what}`)

/** The sinks of all watchers. Their streams fail when the test says so. */
const sinks = new Map<string, Sink>()
const failing = new Set<string>()
const failIf = (what: string) => {
  if (failing.has(what)) throw boom(what)
}
const hub: Hub = {
  find: async () => true,
  task: () => undefined,
  attach(_principal, id, _position, sink) {
    failIf('attach')
    sinks.set(id, sink)
    return { drained: () => failIf('drained'), stop: () => failIf('stop') }
  },
  notices: { add: async () => {}, remove() {}, isUp: () => true },
  stop: async () => {},
  counts: () => ({ tasks: 0, streams: 0, heldBytes: 0 }),
}
const lists: SubscriptionsDeps['lists'] = {
  find: async () => [],
  watchFits: async () => ({ stop() {} }),
  async open() {
    throw boom('open')
  },
}
class FailingSubscriptions extends Subscriptions {
  override async subscribe(request: SubscribeRequest) {
    if (request.id === 'later') throw boom('subscribe')
    await super.subscribe(request)
  }

  override unsubscribe(id: string) {
    if (id === 'at once') throw boom('unsubscribe')
    super.unsubscribe(id)
  }

  override stop() {
    super.stop()
    failIf('close')
  }
}
const openSubscriptions: OpenSubscriptions = (client) => new FailingSubscriptions({ hub, lists, ...client })

const beats = startBeats(15_000, (error) => assert.ifError(error))
const app = Fastify({ loggerInstance: log })
app.setErrorHandler(answerProblem)
const limits = createStreamLimits({ maxPerAddress: 50, maxPerKey: 50, maxPerProcess: 50 })
await app.register(
  async (scope) => {
    registerPrincipal(scope)
    await registerTaskSocket(scope, { hub, limits, beats })
    registerSubscriptionSocket(scope, { openSubscriptions, limits, beats, assertUpgrade: assertHandshake })
  },
  { prefix: '/ws' },
)
const address = await app.listen({ port: 0, host: '127.0.0.1' })
t.teardown(() => app.close())

const unhandled: unknown[] = []
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  const note = (error: unknown) => void unhandled.push(error)
  process.on(event, note)
  t.teardown(() => process.off(event, note))
}

async function open(path: string) {
  const socket = new WebSocket(address.replace('http', 'ws') + path)
  socket.on('error', () => {})
  const closed = once(socket, 'close').then(([code]) => Number(code))
  await once(socket, 'open')
  return { socket, closed, ask: (request: object) => socket.send(JSON.stringify(request)) }
}

/** Checks that a client on another socket is answered as if nothing had happened. */
async function assertAnswers({ socket, ask }: Awaited<ReturnType<typeof open>>): Promise<void> {
  ask({ type: 'ping', id: 'still here' })
  const [data] = (await once(socket, 'message')) as [Buffer]
  t.same(JSON.parse(data.toString()), { type: 'pong', id: 'still here' })
  t.same(unhandled, [])
}

t.afterEach(() => {
  failing.clear()
  lines.length = 0
})

t.test(
  'a failing message closes its socket with 1011 and is logged by its shape, and others are not affected',
  async (t) => {
    const neighbour = await open('/ws/tasks')
    for (const [request, event] of [
      [{ type: 'unsubscribe', id: 'at once' }, 'message'],
      [{ type: 'subscribe', id: 'later', selection: { tag: 'secret' } }, 'subscribe'],
    ] as const) {
      const { ask, closed } = await open('/ws/tasks')
      ask(request)
      t.equal(await closed, 1011)
      t.match(lines.at(-1), { level: 50, path: '/ws/tasks', event, err: { message: /boom/ }, requestId: /./ })
      if (event === 'message')
        t.match(lines.at(-1), {
          frame: { bytes: JSON.stringify(request).length, isBinary: false, depth: 1, fields: 2 },
        })
      t.notMatch(JSON.stringify(lines), /secret|at once/, 'no log contains the text of the client')
      await assertAnswers(neighbour)
    }
    neighbour.socket.terminate()
  },
)

t.test(
  'failures when a socket closes, opens, has a message refused, or has room again end only that socket, too',
  async (t) => {
    const neighbour = await open('/ws/tasks')
    failing.add('close')
    const leaving = await open('/ws/tasks')
    leaving.socket.close()
    await leaving.closed
    await assertAnswers(neighbour)
    t.match(lines, [{ path: '/ws/tasks', event: 'close' }])

    failing.add('attach')
    t.equal(await (await open(`/ws/tasks/${ID}`)).closed, 1011)
    t.match(lines.at(-1), { path: `/ws/tasks/${ID}`, event: 'open' })
    failing.delete('attach')

    failing.add('stop')
    const talking = await open(`/ws/tasks/${ID}`)
    talking.socket.send('hello')
    t.equal(await talking.closed, 1011)
    t.ok(lines.some(({ event }) => event === 'message'))
    failing.delete('stop')

    failing.add('drained')
    const slow = await open(`/ws/tasks/${ID}`)
    sinks.get(ID)?.send(JSON.stringify('x'.repeat(100_000)))
    t.equal(await slow.closed, 1011)
    t.match(lines.at(-1), { event: 'drain' })
    await assertAnswers(neighbour)
    neighbour.socket.terminate()
  },
)
