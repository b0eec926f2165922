/**
 * One task over REST: streams over plain HTTP, long polls, and conditional reads, with a worker and a relay running.
 */
import { connect } from 'node:net'
import pg from 'pg'
import t from 'tap'
import type { Task, Transition } from '../../src/protocol/task.js'
import { startApp } from '../helpers/app.js'
import { readFrame } from '../helpers/frame-check.js'
import { readAllEvents, readEvents } from '../helpers/sse.js'
import { createTask } from '../helpers/watch.js'

const UNKNOWN = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'
/** How long a test waits to prove that nothing happens. */
const LEEWAY_MS = 300
const { address, databaseUrl, stopWeb } = await startApp(t, ['worker', 'relay'])

const ask = (path: string, headers: Record<string, string> = {}) => fetch(address + path, { headers })
const follow = (task: Pick<Task, 'id'>, headers: Record<string, string> = {}) =>
  ask(`/api/tasks/${task.id}/events`, { accept: 'text/event-stream', ...headers })
const readStored = async (id: string) =>
  ((await (await ask(`/api/tasks/${id}/events`)).json()) as { items: Transition[] }).items
const messageOf = (event: { data: string | undefined }) => readFrame(event.data ?? '')
const hasEnded = async (task: Task) => readAllEvents(await follow(task))

t.test(
  'server-sent events start with a snapshot, send each transition once with its version as id, and end with the task',
  async (t) => {
    const task = await createTask(address, { payload: { steps: 3, stepMs: 50 }, delayMs: 3_000 })
    const answer = await follow(task)
    t.equal(answer.status, 200)
    t.match(answer.headers.get('content-type'), 'text/event-stream')
    t.equal(answer.headers.get('cache-control'), 'no-store')
    const [opening, ...events] = await readAllEvents(answer)
    t.match(opening?.retry, /^\d+$/)
    const messages = events.map(messageOf)
    t.equal(messages[0]?.type, 'snapshot')
    t.same(
      events.map(({ event }) => event),
      messages.map(({ type }) => type),
    )
    t.same(
      events.map(({ id }) => id),
      messages.map(({ version }) => String(version)),
    )
    t.ok(messages.some(({ type }) => type === 'progress'))
    const first = messages[0]?.version ?? 0
    const told = messages
      .filter(({ type }) => type === 'transition')
      .map(({ version, status }) => `${version} ${status}`)
    t.same(
      told,
      (await readStored(task.id))
        .filter(({ version }) => version > first)
        .map(({ version, status }) => `${version} ${status}`),
    )
    t.match(messages.at(-1), { status: 'COMPLETED' })
  },
)

t.test('concurrent reads share one statement, and each receives its own task', async (t) => {
  const tasks = await Promise.all(
    Array.from({ length: 40 }, (_, index) => createTask(address, { title: `task ${index}`, delayMs: 3_600_000 })),
  )
  const [client, observer] = [new pg.Client(databaseUrl), new pg.Client(databaseUrl)]
  await Promise.all([client.connect(), observer.connect()])
  t.teardown(() => Promise.all([client.end(), observer.end()]))
  const countReading = async () => {
    const { rows } = await observer.query<{ count: number }>(
      "select count(*)::integer as count from pg_stat_activity where wait_event_type = 'Lock' and query like '%json_array_elements_text%'",
    )
    return rows[0]?.count ?? 0
  }
  await client.query('begin; lock table taskwire.tasks in access exclusive mode')
  const answers = Promise.all([...tasks, { id: UNKNOWN }].map(({ id }) => ask(`/api/tasks/${id}`)))
  while ((await countReading()) < 1) await new Promise((resolve) => setTimeout(resolve, 10))
  // At most two batches run at a time, and the reads that wait for them occupy no connection. The leeway is for reads
  // that would.
  await new Promise((resolve) => setTimeout(resolve, LEEWAY_MS))
  const reading = await countReading()
  t.ok(reading <= 2, `${reading} statements read for ${tasks.length + 1} requests`)
  await client.query('rollback')
  const found = await answers
  t.same(
    found.map(({ status }) => status),
    [...tasks.map(() => 200), 404],
  )
  const titles = await Promise.all(found.slice(0, -1).map(async (answer) => ((await answer.json()) as Task).title))
  t.same(
    titles,
    tasks.map(({ title }) => title),
  )
})

t.test('a stream continues after Last-Event-ID, and 204 tells an EventSource that nothing follows', async (t) => {
  const task = await createTask(address, { payload: { steps: 0 } })
  await hasEnded(task)
  const events = (await readAllEvents(await follow(task, { 'last-event-id': '1' }))).slice(1)
  t.same(
    events.map(({ event, id }) => `${event} ${id}`),
    ['resumed 1', 'transition 2', 'transition 3'],
  )
  const bySince = await readAllEvents(
    await ask(`/api/tasks/${task.id}/events?since=2`, { accept: 'text/event-stream' }),
  )
  t.same(
    bySince.slice(1).map(({ event, id }) => `${event} ${id}`),
    ['resumed 2', 'transition 3'],
  )
  t.equal((await follow(task, { 'last-event-id': '3' })).status, 204)
})

t.test('a position that the task never reached is answered with reset and the whole task', async (t) => {
  const task = await createTask(address, { payload: { steps: 0 } })
  await hasEnded(task)
  const [, reset] = await readAllEvents(await follow(task, { 'last-event-id': '99' }))
  t.match(reset, { event: 'reset', id: '3' })
  t.match(reset && messageOf(reset), { type: 'snapshot', reset: true, task: { id: task.id, status: 'COMPLETED' } })
})

t.test('curl -N prints one line per change', async (t) => {
  const task = await createTask(address, { title: 'nightly\nreport', payload: { steps: 1, stepMs: 2_000 } })
  const answer = await ask(`/api/tasks/${task.id}/events`, { accept: 'text/plain' })
  t.match(answer.headers.get('content-type'), 'text/plain')
  const lines = (await answer.text()).trimEnd().split('\n')
  t.match(lines[0], /^\d{4}-\d\d-\d\dT[\d:.]+Z {2}v1 +PENDING +nightly report$|PROCESSING/)
  t.match(lines.at(-1), /v3 +COMPLETED +attempt 1 {2}\{"steps":1,"sleptMs":\d+\}$/)
  for (const line of lines) t.match(line, /^[\dT:.Z -]{24} {2}v\d/)
})

t.test('a task that cannot be followed is answered with a problem before anything is sent', async (t) => {
  t.match(await (await follow({ id: UNKNOWN })).json(), { status: 404, code: 'task_not_found' })
  t.match(await (await follow({ id: 'no-id' })).json(), { status: 400, code: 'invalid_id' })
  const task = await createTask(address, { payload: { steps: 0 } })
  t.match(await (await follow(task, { 'last-event-id': 'x' })).json(), {
    status: 400,
    errors: [{ pointer: '/last-event-id' }],
  })
  t.match(await (await ask(`/api/tasks/${task.id}?wait=61`)).json(), { status: 400, errors: [{ pointer: '/wait' }] })
})

t.test('a client that reads nothing does not delay others', async (t) => {
  const task = await createTask(address, { payload: { steps: 40, stepMs: 5 } })
  const { hostname, port } = new URL(address)
  const stalled = connect(Number(port), hostname)
  t.teardown(() => stalled.destroy())
  stalled.pause()
  stalled.write(`GET /api/tasks/${task.id}/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n`)
  t.match(messageOf((await readAllEvents(await follow(task))).at(-1) ?? { data: '' }), { status: 'COMPLETED' })
})

t.test('a long poll answers when the version has changed, and after its time with the task as it is', async (t) => {
  const task = await createTask(address, { payload: { steps: 2, stepMs: 100 }, delayMs: 4_000 })
  t.match(await (await ask(`/api/tasks/${task.id}?wait=1&since=0`)).json(), { version: 1, status: 'SCHEDULED' })
  let version = 1
  const statuses = []
  while (statuses.at(-1) !== 'COMPLETED') {
    const next = (await (await ask(`/api/tasks/${task.id}?wait=30&since=${version}`)).json()) as Task
    t.ok(next.version > version)
    version = next.version
    statuses.push(next.status)
  }
  const waiting = await createTask(address, { delayMs: 3_600_000 })
  t.match(await (await ask(`/api/tasks/${waiting.id}?wait=1&since=1`)).json(), { version: 1, status: 'SCHEDULED' })
  t.equal((await ask(`/api/tasks/${UNKNOWN}?wait=1`)).status, 404)
})

t.test('a wait without a version lasts until the end', async (t) => {
  const task = await createTask(address, { payload: { steps: 3, stepMs: 30 } })
  t.match(await (await ask(`/api/tasks/${task.id}?wait=30`)).json(), { status: 'COMPLETED', version: 3 })
  t.match(await (await ask(`/api/tasks/${task.id}?wait=30`)).json(), { status: 'COMPLETED', version: 3 })
})

t.test('Prefer: wait answers a create with the finished task, or with 202 if it takes longer', async (t) => {
  const create = (wait: string, body: object) =>
    fetch(`${address}/api/tasks`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: wait },
      body: JSON.stringify(body),
    })
  const quick = await create('respond-async, wait=30', { payload: { steps: 1, stepMs: 10 } })
  t.equal(quick.status, 200)
  t.equal(quick.headers.get('preference-applied'), 'wait=30')
  t.match(await quick.json(), { status: 'COMPLETED', version: 3, result: { steps: 1 } })
  const slow = await create('wait=1', { delayMs: 3_600_000 })
  t.equal(slow.status, 202)
  t.match(await slow.json(), { status: 'SCHEDULED', version: 1 })
})

t.test('an unchanged task is 304 for a client that sends its ETag', async (t) => {
  const task = await createTask(address, { payload: { steps: 0 } })
  await hasEnded(task)
  const etag = (await ask(`/api/tasks/${task.id}`)).headers.get('etag') ?? ''
  t.equal(etag, '"3"')
  for (const given of [etag, `W/${etag}`, `"1", ${etag}`, '*']) {
    const answer = await ask(`/api/tasks/${task.id}`, { 'if-none-match': given })
    t.equal(answer.status, 304)
    t.equal(await answer.text(), '')
  }
  t.equal((await ask(`/api/tasks/${task.id}`, { 'if-none-match': '"2"' })).status, 200)
})

t.test('when the server stops, streams are told when to reconnect, and waits are answered', async (t) => {
  const task = await createTask(address, { delayMs: 3_600_000 })
  const events = readEvents(await follow(task))
  await events.next()
  t.match((await events.next()).value, { event: 'snapshot' })
  const lines = await ask(`/api/tasks/${task.id}/events`, { accept: 'text/plain' })
  const stopping = stopWeb()
  t.match((await events.next()).value, { retry: /^\d+$/ })
  t.ok((await events.next()).done)
  t.match(await lines.text(), /SCHEDULED[^]*reconnect in \d+ ms/)
  await stopping
})
