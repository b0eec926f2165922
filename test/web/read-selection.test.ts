/** The changes of many tasks over plain HTTP, with a worker and a relay running. */
import t from 'tap'
import type { StreamMessage } from '../../src/protocol/stream.js'
import type { Task, Transition } from '../../src/protocol/task.js'
import { startApp } from '../helpers/app.js'
import { readFrame } from '../helpers/frame-check.js'
import { readAllEvents, readEvents, type ServerSentEvent } from '../helpers/sse.js'
import { createTask } from '../helpers/watch.js'

const UNKNOWN = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'
const { address, stopWeb } = await startApp(t, ['worker', 'relay'])

const ask = (query: string, headers: Record<string, string> = {}) =>
  fetch(`${address}/api/tasks/events?${query}`, { headers })
const follow = (query: string, headers: Record<string, string> = {}) =>
  ask(query, { accept: 'text/event-stream', ...headers })
const idsOf = (tasks: readonly Pick<Task, 'id'>[]) => `ids=${tasks.map(({ id }) => id).join()}`
const messagesOf = (events: readonly ServerSentEvent[]): StreamMessage[] =>
  events.filter(({ event }) => event !== undefined && event !== 'subscribed').map(({ data }) => readFrame(data ?? ''))
const told = (messages: readonly StreamMessage[], { id }: Pick<Task, 'id'>) =>
  messages
    .filter(({ taskId, type }) => taskId === id && type !== 'progress' && type !== 'waiting')
    .map(({ type, version }) => `${type} ${version}`)

t.test('a stream of ids sends each transition of each task once, and ends when all have ended', async (t) => {
  const tasks = await Promise.all(
    [1, 2, 3].map((steps) => createTask(address, { payload: { steps, stepMs: 40 }, delayMs: 2_000 })),
  )
  const answer = await follow(`${idsOf(tasks)},${UNKNOWN}`)
  t.equal(answer.status, 200)
  t.match(answer.headers.get('content-type'), 'text/event-stream')
  const [opening, subscribed, ...events] = await readAllEvents(answer)
  t.match(opening?.retry, /^\d+$/)
  t.match(subscribed, {
    event: 'subscribed',
    data: JSON.stringify({ type: 'subscribed', tasks: 3, missing: [UNKNOWN] }),
  })
  const messages = messagesOf(events)
  for (const task of tasks) t.same(told(messages, task), ['snapshot 1', 'transition 2', 'transition 3', 'transition 4'])
  t.equal(events.at(-1)?.id, '4,4,4,0', 'the position is the version of each, in the order of the ids')

  const stored = (await (await ask(idsOf(tasks))).json()) as { items: ({ taskId: string } & Transition)[] }
  t.same(
    stored.items.map(({ at }) => at),
    stored.items.map(({ at }) => at).sort(),
  )
  t.same(
    stored.items.filter(({ taskId }) => taskId === tasks[1]?.id).map(({ version }) => version),
    [1, 2, 3, 4],
  )
  t.equal(stored.items.length, 12)
})

t.test(
  'a client that reconnects with Last-Event-ID misses and repeats nothing, and is told when all have ended',
  async (t) => {
    const tasks = await Promise.all([1, 2].map(() => createTask(address, { payload: { steps: 1, stepMs: 20 } })))
    await readAllEvents(await follow(idsOf(tasks)))
    const messages = messagesOf(await readAllEvents(await follow(idsOf(tasks), { 'last-event-id': '1,0' })))
    t.same(
      tasks.map((task) => told(messages, task)),
      [['resumed 1', 'transition 2', 'transition 3'], ['snapshot 3']],
    )
    const bySince = messagesOf(await readAllEvents(await follow(`${idsOf(tasks)}&since=2,3`)))
    t.same(
      tasks.map((task) => told(bySince, task)),
      [['resumed 2', 'transition 3'], ['resumed 3']],
    )
    t.equal((await follow(idsOf(tasks), { 'last-event-id': '3,3' })).status, 204)
  },
)

t.test('a stream of a filter sends tasks that start to match', async (t) => {
  const running = await createTask(address, { tags: ['wanted'], payload: { steps: 60, stepMs: 100 } })
  await createTask(address, { payload: { steps: 0 } })
  const leaver = new AbortController()
  const answer = await fetch(`${address}/api/tasks/events?tag=wanted`, {
    headers: { accept: 'text/event-stream' },
    signal: leaver.signal,
  })
  const seen = new Set<string>()
  let later: Task | undefined
  for await (const event of readEvents(answer)) {
    if (event.event === undefined || event.event === 'subscribed') continue
    t.equal(event.id, undefined, 'a filter has no position to resume from')
    const { taskId, status } = readFrame(event.data ?? '')
    seen.add(taskId)
    later ??= await createTask(address, { tags: ['wanted'], payload: { steps: 1, stepMs: 20 } })
    if (taskId === later.id && status === 'COMPLETED') break
  }
  leaver.abort()
  t.same(seen, new Set([running.id, later?.id]))
})

t.test('text lines name the task', async (t) => {
  const task = await createTask(address, { title: 'nightly', payload: { steps: 0 } })
  await readAllEvents(await follow(idsOf([task])))
  const lines = (await (await ask(idsOf([task]), { accept: 'text/plain' })).text()).split('\n')
  t.equal(lines[0], '1 tasks')
  t.match(lines[1], new RegExp(`^${task.id}  .* v3   COMPLETED   nightly`))
})

t.test('the stored history of matching tasks is listed', async (t) => {
  const task = await createTask(address, { tags: ['listed'], payload: { steps: 0 } })
  await readAllEvents(await follow(idsOf([task])))
  const { items } = (await (await ask('tag=listed&type=demo.sleep&status=COMPLETED')).json()) as {
    items: { taskId: string; version: number }[]
  }
  t.same(
    items.map(({ taskId, version }) => `${taskId} ${version}`),
    [1, 2, 3].map((version) => `${task.id} ${version}`),
  )
})

t.test('an invalid request names the field', async (t) => {
  const refusals: [string, string][] = [
    ['ids=nope', '/ids'],
    [`ids=${UNKNOWN}&tag=x`, '/tag'],
    [`ids=${UNKNOWN}&since=1,2`, '/since'],
    ['status=DONE', '/status'],
    ['colour=red', '/colour'],
  ]
  for (const [query, pointer] of refusals) {
    const answer = await follow(query)
    t.equal(answer.status, 400, query)
    t.match(await answer.json(), { code: 'invalid_request', errors: [{ pointer }] })
  }
  t.match(await (await follow(`ids=${UNKNOWN}`, { 'last-event-id': 'x' })).json(), {
    errors: [{ pointer: '/last-event-id' }],
  })
})

t.test('a stopping server tells clients when to reconnect', async (t) => {
  const task = await createTask(address, { delayMs: 60_000 })
  const events = readEvents(await follow(idsOf([task])))
  for await (const event of events) if (event.event === 'snapshot') break
  const idle = readAllEvents(await follow('tag=nobody-has-it'))
  const again = readEvents(await follow(idsOf([task])))
  const rest: ServerSentEvent[] = []
  const ending = (async () => {
    for await (const event of again) rest.push(event)
  })()
  while (!rest.some(({ event }) => event === 'snapshot')) await new Promise((resolve) => setTimeout(resolve, 10))
  await stopWeb()
  await ending
  t.match(rest.at(-1)?.retry, /^\d+$/)
  t.match(
    (await idle).map(({ retry, event }) => event ?? retry),
    [/^\d+$/, 'subscribed', /^\d+$/],
    'a stream without tasks is told, too',
  )
})
