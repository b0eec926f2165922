/** Half-open connections: a proxy silently drops their bytes. The client measures the silence. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { WebSocket } from 'ws'
import { createTask, watchTask, watchTasks, type Connection, type WatchOptions } from '../../public/task-stream.js'
import type { Task } from '../../src/protocol/task.js'
import { startApp } from '../helpers/app.js'
import { startProxy } from '../helpers/proxy.js'

const { address } = await startApp(t, ['worker', 'relay'], { STREAM_HEARTBEAT_SECONDS: '1' })
const HOUR_MS = 3_600_000
/** Longer than twice the longest silence of the server, as with the defaults. */
const SILENCE_MS = 2_500
const WAYS = ['websocket', 'events', 'poll'] as const

async function start({ id }: Task): Promise<void> {
  const body = JSON.stringify({ runAt: new Date().toISOString() })
  await fetch(`${address}/api/tasks/${id}`, { method: 'PATCH', headers: { 'content-type': 'application/json' }, body })
  await fetch(`${address}/api/tasks/${id}?wait=30`)
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(10)
}

async function open(t: Parameters<typeof startProxy>[0]) {
  const proxy = await startProxy(t, [Number(new URL(address).port)])
  const connections: (Connection & { ageMs: number })[] = []
  const options: WatchOptions = {
    baseUrl: `http://127.0.0.1:${proxy.port}`,
    WebSocket,
    silenceMs: SILENCE_MS,
    minDelayMs: 1,
    maxDelayMs: 20,
    onConnection: (connection) =>
      connections.push({ ...connection, ageMs: Date.now() - (connection.heardAt ?? Date.now()) }),
  }
  return { proxy, connections, options }
}

/** Runs the check over every transport at the same time. */
async function overEach(check: (way: (typeof WAYS)[number]) => Promise<void>): Promise<void> {
  await Promise.all(WAYS.map(check))
}

t.test('a watch over a dead connection reports the silence, reconnects, and misses nothing', async (t) => {
  await overEach(async (way) => {
    const { proxy, connections, options } = await open(t)
    const task = await createTask({ delayMs: HOUR_MS, payload: { steps: 0 } }, { baseUrl: address })
    const versions: number[] = []
    const watch = watchTask(task.id, {
      ...options,
      transports: [way],
      onChange: ({ task }) => versions.push(task.version),
    })
    t.teardown(() => watch.close())
    await until(() => watch.task !== undefined && watch.connection.state === 'live')
    proxy.blackhole()
    await start(task)
    t.match(await watch.finished, { status: 'COMPLETED', version: 5 }, way)
    t.same(
      versions.filter((version, index) => version !== versions[index - 1]),
      [1, 2, 3, 4, 5],
      way,
    )
    const told = connections.find(({ state }) => state === 'reconnecting')
    t.match(told?.text, /^No data for \d+ s\. Reconnecting…$/, way)
    t.ok((told?.ageMs ?? 0) > SILENCE_MS - 100, 'the data is as old as the last message')
  })
})

t.test('an idle connection stays open', async (t) => {
  await overEach(async (way) => {
    const { proxy, connections, options } = await open(t)
    const task = await createTask({ delayMs: HOUR_MS }, { baseUrl: address })
    const watch = watchTask(task.id, { ...options, transports: [way] })
    t.teardown(() => watch.close())
    await until(() => watch.connection.state === 'live')
    const { count } = proxy
    const { heardAt = 0 } = watch.connection
    await until(() => (watch.connection.heardAt ?? 0) > heardAt + 2 * SILENCE_MS)
    t.same(
      connections.map(({ state }) => state),
      ['live'],
      way,
    )
    // Long polling sends new requests, so it may open more connections.
    if (way !== 'poll') t.equal(proxy.count, count, way)
  })
})

t.test('an unanswered connection attempt is given up in time', async (t) => {
  await overEach(async (way) => {
    const { proxy, options } = await open(t)
    const task = await createTask({ delayMs: HOUR_MS, payload: { steps: 0 } }, { baseUrl: address })
    proxy.freeze()
    const watch = watchTask(task.id, { ...options, transports: [way], connectMs: 200 })
    t.teardown(() => watch.close())
    // Waits for the connection attempt and for the request for the reason of its failure, which has its own deadline.
    await until(() => watch.connection.state === 'away')
    t.equal(watch.connection.heardAt, undefined)
    proxy.thaw()
    await until(() => watch.task !== undefined)
    t.equal(watch.connection.state, 'live', way)
  })
})

t.test('a watch of many tasks over a dead connection reconnects, and misses nothing', async (t) => {
  const { proxy, connections, options } = await open(t)
  const tasks = await Promise.all(
    [0, 1, 2].map(() => createTask({ delayMs: HOUR_MS, payload: { steps: 0 } }, { baseUrl: address })),
  )
  const ids = tasks.map(({ id }) => id)
  const versions = new Map<string, number[]>(ids.map((id) => [id, []]))
  const watch = watchTasks({ ids }, { ...options, onChange: ({ task }) => versions.get(task.id)?.push(task.version) })
  t.teardown(() => watch.close())
  await until(() => watch.tasks.size === ids.length)
  proxy.blackhole()
  await Promise.all(tasks.map(start))
  await until(() => ids.every((id) => watch.tasks.get(id)?.status === 'COMPLETED'))
  for (const told of versions.values())
    t.same(
      told.filter((version, index) => version !== told[index - 1]),
      [1, 2, 3, 4, 5],
    )
  t.match(connections.map(({ state, text }) => [state, text])[1], [
    'reconnecting',
    /^No data for \d+ s\. Reconnecting…$/,
  ])
})

/** A connection in memory: the test sends the messages of the server. */
class FakeSocket {
  static opened: FakeSocket[] = []
  readyState = 1
  onopen: ((event: never) => void) | null = null
  onmessage: ((event: never) => void) | null = null
  onclose: ((event: never) => void) | null = null
  onerror: ((event: never) => void) | null = null
  constructor() {
    FakeSocket.opened.push(this)
  }
  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) } as never)
  }
  send(): void {}
  close(): void {}
}

async function openFake(t: { teardown(action: () => void): void }, silenceMs: number) {
  FakeSocket.opened = []
  const task = await createTask({ delayMs: HOUR_MS }, { baseUrl: address })
  const watch = watchTask(task.id, {
    baseUrl: address,
    WebSocket: FakeSocket,
    transports: ['websocket'],
    silenceMs,
    minDelayMs: 1,
    maxDelayMs: 1,
  })
  t.teardown(() => watch.close())
  const beat = { type: 'heartbeat', taskId: task.id, status: task.status, version: 1 }
  const [socket] = FakeSocket.opened
  socket?.say({ type: 'snapshot', taskId: task.id, status: task.status, version: 1, task })
  return { watch, beat: () => FakeSocket.opened.at(-1)?.say(beat) }
}

t.test('after the machine slept, messages that arrived meanwhile count before the silence does', async (t) => {
  const { watch, beat } = await openFake(t, 400)
  // The event loop is blocked for longer than the allowed silence; messages of the server are handled after the timers.
  setTimeout(() => setImmediate(beat), 1)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500)
  const beating = setInterval(beat, 40)
  await sleep(600)
  clearInterval(beating)
  t.equal(FakeSocket.opened.length, 1)
  t.equal(watch.connection.state, 'live')
  await until(() => FakeSocket.opened.length === 2)
  t.match(watch.connection, { state: 'reconnecting' }, 'a real silence is still detected')
})

t.test('throttled timers, as in a background tab, raise no false alarm and miss no real one', async (t) => {
  const { setTimeout: real } = globalThis
  t.teardown(() => (globalThis.setTimeout = real))
  globalThis.setTimeout = ((call: () => void, ms = 0) => real(call, ms + 800)) as typeof setTimeout
  const { watch, beat } = await openFake(t, 300)
  const beating = setInterval(beat, 50)
  await new Promise((resolve) => real(resolve, 2_500))
  clearInterval(beating)
  t.equal(FakeSocket.opened.length, 1)
  while (FakeSocket.opened.length === 1) await new Promise((resolve) => real(resolve, 10))
  t.match(watch.connection, { state: 'reconnecting' })
})

t.test('setting the clock forwards or back changes nothing', async (t) => {
  const { now } = Date
  t.teardown(() => (Date.now = now))
  const { watch, beat } = await openFake(t, 600)
  const beating = setInterval(beat, 50)
  for (const ms of [HOUR_MS, -HOUR_MS]) {
    Date.now = () => now() + ms
    await sleep(900)
    t.equal(FakeSocket.opened.length, 1)
    t.equal(watch.connection.state, 'live')
  }
  clearInterval(beating)
})
