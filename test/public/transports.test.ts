/** The client over each transport to a real server, and where some of them are blocked. */
import t from 'tap'
import { WebSocket } from 'ws'
import { createTask, openLive, runTask, watchTask, type WatchOptions } from '../../public/task-stream.js'
import { startApp } from '../helpers/app.js'

const { address: baseUrl } = await startApp(t, ['worker', 'relay'])
const fast = { baseUrl, WebSocket, minDelayMs: 1, maxDelayMs: 20 }

/** Behaves like a proxy without support for upgrades: the server answers, but refuses. */
class BlockedWebSocket extends WebSocket {
  constructor(url: string) {
    super(url.replace('/ws/', '/blocked/'))
  }
}

/** Behaves like a proxy that buffers endless responses. */
const withoutEvents: typeof fetch = (input, init) => {
  const accepts = new Headers(init?.headers).get('accept')
  return accepts === 'text/event-stream' ? Promise.resolve(new Response('', { status: 502 })) : fetch(input, init)
}

const WAYS: [string, WatchOptions][] = [
  ['a WebSocket', { transports: ['websocket'] }],
  ['server-sent events', { transports: ['events'] }],
  ['long polls', { transports: ['poll'] }],
  ['server-sent events where WebSockets are blocked', { WebSocket: BlockedWebSocket }],
  ['long polls where all other transports are blocked', { WebSocket: BlockedWebSocket, fetch: withoutEvents }],
]

t.test('a transport that does not exist is named, together with those that do', (t) => {
  const id = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'
  for (const transports of [['sse'], ['events', 'ws'], 'sse', ['toString'], [undefined], [1]]) {
    const options = { ...fast, transports: transports as never }
    t.throws(() => watchTask(id, options), {
      name: 'RangeError',
      message: /^There is no transport .*: use websocket, events, poll$/,
    })
    t.throws(() => openLive(options), {
      name: 'RangeError',
      message: /^There is no transport .*: use websocket, events$/,
    })
  }
  t.throws(() => watchTask(id, { ...fast, transports: [] }), {
    message: 'transports is empty: use websocket, events, poll',
  })
  t.end()
})

for (const [way, options] of WAYS) {
  t.test(`a watch over ${way} reports each version once, in order, up to the end`, async (t) => {
    const task = await createTask({ payload: { steps: 3, stepMs: 60 }, delayMs: 100 }, fast)
    const versions: number[] = []
    const statuses: string[] = []
    for await (const change of watchTask(task.id, { ...fast, ...options })) {
      if (change.message.type === 'progress' || versions.at(-1) === change.task.version) continue
      versions.push(change.task.version)
      statuses.push(change.task.status)
    }
    const [first = 0] = versions
    t.same(
      versions,
      Array.from({ length: 5 - first }, (_, index) => first + index),
    )
    t.same(statuses, ['SCHEDULED', 'PENDING', 'PROCESSING', 'COMPLETED'].slice(first - 1))
  })

  t.test(`a watch over ${way} continues from a held task`, async (t) => {
    const held = await createTask({ payload: { steps: 1, stepMs: 10 } }, fast)
    const ended = await runTask({ payload: { steps: 0 } }, { ...fast, ...options })
    t.equal(ended.status, 'COMPLETED')
    const versions = new Set<number>()
    for await (const { task } of watchTask(held.id, { ...fast, ...options, task: held })) versions.add(task.version)
    t.same([...versions], [2, 3])
  })

  t.test(`a watch over ${way} of a task that does not exist stops`, async (t) => {
    const watch = watchTask('019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10', { ...fast, ...options })
    await t.rejects(watch.finished, { name: 'WatchError', code: 4504 })
  })
}
