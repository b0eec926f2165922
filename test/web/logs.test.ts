/** Log lines of handlers: stored, read back, and live over each transport. */
import { pino } from 'pino'
import t from 'tap'
import { Type } from 'typebox'
import { WebSocket } from 'ws'
import { watchTask } from '../../public/task-stream.js'
import { openBroker } from '../../src/broker/open-broker.js'
import { createPublisher } from '../../src/broker/publisher.js'
import { defineTask } from '../../src/definitions/definition.js'
import { createRegistry } from '../../src/definitions/registry.js'
import type { LogPage } from '../../src/protocol/http.js'
import { createRecorder } from '../../src/tasks/attempt/recorder.js'
import { runAttempt } from '../../src/tasks/attempt/run-attempt.js'
import { startApp } from '../helpers/app.js'
import { noArtifacts } from '../helpers/artifacts.js'
import { openTestDatabase } from '../helpers/database.js'
import { readFrame } from '../helpers/frame-check.js'
import { readAllEvents } from '../helpers/sse.js'
import { createTask, watch } from '../helpers/watch.js'

const { address, databaseUrl, redis } = await startApp(t)
const db = await openTestDatabase(t, databaseUrl)
const log = pino({ level: 'silent' })
const broker = await openBroker({ redisUrl: redis?.url, databaseUrl, log })
t.teardown(() => broker.close())

/** Runs the task's first attempt with a handler that writes `count` log lines. */
async function runLogging(taskId: string, count: number): Promise<void> {
  const definition = defineTask({
    type: 'demo.sleep',
    title: 'test',
    description: 'test',
    payload: Type.Object({}),
    result: Type.Unknown(),
    async run(_, context) {
      for (let index = 1; index <= count; index += 1) context.log.info(`line ${index}`)
    },
  })
  const recorder = createRecorder({
    db,
    log,
    worker: 'test',
    leaseMs: 60_000,
    publish: createPublisher({ bus: broker.events, log }).publish,
  })
  const registry = createRegistry([definition], definition.type)
  await runAttempt(
    { taskId, attempt: 1 },
    {
      db,
      recorder,
      registry,
      log,
      ...noArtifacts,
      cancelGraceMs: 200,
      track: () => ({ signal: new AbortController().signal, abort() {}, ending() {}, end() {} }),
    },
  )
}

const read = async (id: string, query = '') =>
  (await (await fetch(`${address}/api/tasks/${id}/logs${query}`)).json()) as LogPage

t.test('log lines are stored in order and read page by page', async (t) => {
  const task = await createTask(address, {})
  await runLogging(task.id, 5)
  const first = await read(task.id, '?limit=3')
  t.match(
    first.items,
    [1, 2, 3].map((index) => ({ attempt: 1, level: 'info', text: `line ${index}` })),
  )
  const second = await read(task.id, `?limit=3&after=${first.nextAfter}`)
  t.same(
    second.items.map(({ text }) => text),
    ['line 4', 'line 5'],
  )
  t.equal(second.nextAfter, null)
  const times = [...first.items, ...second.items].map(({ at }) => at)
  t.same(times, [...times].sort())
  t.equal((await fetch(`${address}/api/tasks/019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10/logs`)).status, 404)
})

t.test('with logs=1 they are live, before the end; without it there are none', async (t) => {
  const task = await createTask(address, {})
  const watcher = watch(address, `/ws/tasks/${task.id}?logs=1`)
  const plain = watch(address, `/ws/tasks/${task.id}`)
  const lines = await fetch(`${address}/api/tasks/${task.id}/events?logs=1`, { headers: { accept: 'text/plain' } })
  const seen: string[] = []
  const client = watchTask(task.id, {
    baseUrl: address,
    WebSocket,
    logs: true,
    onChange: ({ message }) => seen.push(message.type === 'log' ? message.line.text : message.type),
  })
  await Promise.all([watcher, plain].map(({ until }) => until(({ type }) => type === 'snapshot')))
  while (client.connection.state !== 'live') await new Promise((resolve) => setTimeout(resolve, 5))
  await runLogging(task.id, 3)
  const expected = ['snapshot', 'transition', 'line 1', 'line 2', 'line 3', 'transition']
  t.same(
    (await watcher.closed).messages.map((message) => (message.type === 'log' ? message.line.text : message.type)),
    expected,
  )
  t.same(
    (await plain.closed).messages.map(({ type }) => type),
    ['snapshot', 'transition', 'transition'],
  )
  t.match(await lines.text(), /v2 +PROCESSING +info: line 1\n[^]*info: line 3\n[^]*v3 +COMPLETED/)
  await client.finished
  t.same(seen, expected)

  const events = await readAllEvents(
    await fetch(`${address}/api/tasks/${task.id}/events?logs=1`, { headers: { accept: 'text/event-stream' } }),
  )
  const messages = events.slice(1).map(({ data }) => readFrame(data ?? ''))
  t.same(
    messages.map((message) => (message.type === 'log' ? message.line.text : message.type)),
    ['snapshot', 'line 1', 'line 2', 'line 3'],
  )
  const after: string[] = []
  for await (const { message } of watchTask(task.id, { baseUrl: address, WebSocket, logs: true }))
    after.push(message.type)
  t.same(after, ['snapshot', 'log', 'log', 'log'])
})

t.test('logs takes 0 or 1', async (t) => {
  const answer = await fetch(`${address}/api/tasks/019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10/events?logs=yes`)
  t.equal(answer.status, 400)
  t.match(await answer.json(), { errors: [{ pointer: '/logs' }] })
})
