/** Many tasks over one socket, on real services. */
import { once } from 'node:events'
import t from 'tap'
import { WebSocket } from 'ws'
import { createChecker } from '../../src/definitions/schema-errors.js'
import type { StreamMessage } from '../../src/protocol/stream.js'
import { SocketAnswer } from '../../src/protocol/subscription.js'
import type { Task, Transition } from '../../src/protocol/task.js'
import { startApp } from '../helpers/app.js'
import { readFrame } from '../helpers/frame-check.js'
import type { TestScope } from '../helpers/services.js'
import { createTask } from '../helpers/watch.js'

const UNKNOWN = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'
const { address, stopWeb } = await startApp(t, ['worker', 'relay'])
const answers = createChecker(SocketAnswer)

type Said = StreamMessage | SocketAnswer
const pointersOf = (said?: SocketAnswer) =>
  said?.type === 'refused' ? said.errors?.map(({ pointer }) => pointer) : undefined
const isAnswer = (said: Said): said is SocketAnswer => 'id' in said

async function openSubscriptions(t: TestScope) {
  const socket = new WebSocket(`${address.replace('http', 'ws')}/ws/tasks`)
  const said: Said[] = []
  // Indexed by task: among thousands of messages, a linear search for each would take longer than a lease.
  const byTask = new Map<string, StreamMessage[]>()
  const listeners = new Set<() => void>()
  socket.on('message', (data: Buffer) => {
    const parsed = JSON.parse(data.toString()) as Said
    if (isAnswer(parsed) && answers.check(parsed).length > 0) throw new Error(`not an answer: ${data.toString()}`)
    const one = isAnswer(parsed) ? parsed : readFrame(data.toString())
    said.push(one)
    if (!isAnswer(one)) byTask.set(one.taskId, [...(byTask.get(one.taskId) ?? []), one])
    for (const listener of listeners) listener()
  })
  const closed = once(socket, 'close').then(([code, reason]) => ({ code: Number(code), reason: String(reason) }))
  closed.catch(() => {})
  t.teardown(() => socket.terminate())
  await once(socket, 'open')
  const until = (isTrue: () => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!isTrue()) return
        listeners.delete(look)
        resolve()
      }
      listeners.add(look)
      look()
    })
  const of = (task: Pick<Task, 'id'>) => byTask.get(task.id) ?? []
  return {
    socket,
    said,
    closed,
    of,
    until,
    ask: (request: object) => socket.send(JSON.stringify(request)),
    async answer(id: string) {
      await until(() => said.some((one) => isAnswer(one) && one.id === id))
      return said.filter(isAnswer).findLast((one) => one.id === id)
    },
    versions: (task: Pick<Task, 'id'>) =>
      of(task)
        .filter(({ type }) => type !== 'progress' && type !== 'waiting')
        .map(({ type, version }) => `${type} ${version}`),
    ended: (task: Pick<Task, 'id'>) =>
      until(() => of(task).some(({ status }) => ['COMPLETED', 'FAILED'].includes(status))),
  }
}

const readStored = async (id: string) =>
  ((await (await fetch(`${address}/api/tasks/${id}/events`)).json()) as { items: Transition[] }).items

t.test('tasks are followed by id to their end, and the socket stays open', async (t) => {
  const subscriptions = await openSubscriptions(t)
  const tasks = await Promise.all(
    [2, 3].map((steps) => createTask(address, { payload: { steps, stepMs: 40 }, delayMs: 100 })),
  )
  subscriptions.ask({ type: 'subscribe', id: 'mine', selection: { ids: [...tasks.map(({ id }) => id), UNKNOWN] } })
  t.same(await subscriptions.answer('mine'), { type: 'subscribed', id: 'mine', tasks: 2, missing: [UNKNOWN] })
  t.equal(subscriptions.said[0]?.type, 'subscribed', 'the reply precedes the messages that it causes')
  for (const task of tasks) {
    await subscriptions.ended(task)
    const [first, ...later] = subscriptions.versions(task)
    t.match(first, /^snapshot \d$/)
    const stored = (await readStored(task.id)).map(({ version }) => `transition ${version}`)
    t.same(later, stored.slice(Number(first?.split(' ')[1])))
  }
  subscriptions.ask({ type: 'ping', id: 'p' })
  t.same(await subscriptions.answer('p'), { type: 'pong', id: 'p' })
})

t.test('a task continues after the version that the client holds', async (t) => {
  const subscriptions = await openSubscriptions(t)
  const task = await createTask(address, { payload: { steps: 0 } })
  await (await fetch(`${address}/api/tasks/${task.id}?wait=30`)).json()
  subscriptions.ask({ type: 'subscribe', id: 'a', selection: { ids: [task.id] }, since: { [task.id]: 1 } })
  await subscriptions.ended(task)
  t.same(subscriptions.versions(task), ['resumed 1', 'transition 2', 'transition 3'])
})

t.test('a filter reports tasks that match now and tasks that match later', async (t) => {
  const subscriptions = await openSubscriptions(t)
  const tagged = (tags: string[]) => createTask(address, { tags, payload: { steps: 1, stepMs: 20 }, delayMs: 3_000 })
  const now = await tagged(['night', 'paper'])
  subscriptions.ask({ type: 'subscribe', id: 'n', selection: { tag: 'night' } })
  t.same(await subscriptions.answer('n'), { type: 'subscribed', id: 'n', tasks: 1 })
  const [later, other] = await Promise.all([tagged(['night']), tagged(['day'])])
  await Promise.all([subscriptions.ended(now), subscriptions.ended(later)])
  t.match(subscriptions.versions(now)[0], /^snapshot/)
  t.match(subscriptions.versions(later)[0], /^snapshot/)
  t.same(subscriptions.of(other), [])
})

t.test(
  'each task that starts to match is sent, however many there are and however soon it stops matching',
  async (t) => {
    const [quick, all] = [await openSubscriptions(t), await openSubscriptions(t)]
    quick.ask({ type: 'subscribe', id: 'q', selection: { status: 'PROCESSING', tag: 'quick' } })
    all.ask({ type: 'subscribe', id: 'a', selection: { tag: 'quick', q: 'short' } })
    await Promise.all([quick.answer('q'), all.answer('a')])
    const body = JSON.stringify({
      tasks: Array.from({ length: 500 }, () => ({ title: 'a short task', tags: ['quick'], payload: { steps: 0 } })),
    })
    const made = await fetch(`${address}/api/tasks/batch`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
    const { items } = (await made.json()) as { items: Task[] }
    await quick.until(() => items.every((task) => quick.of(task).length > 0))
    await all.until(() => items.every((task) => all.of(task).some(({ status }) => status === 'COMPLETED')))
    for (const task of items) {
      const [first, ...later] = all.versions(task)
      const from = Number(/^snapshot (\d)$/.exec(first ?? '')?.[1])
      t.same(
        later,
        Array.from({ length: 3 - from }, (_, index) => `transition ${from + 1 + index}`),
      )
    }
  },
)

t.test('the tasks of a batch are followed, and no others', async (t) => {
  const subscriptions = await openSubscriptions(t)
  const body = JSON.stringify({
    tasks: Array.from({ length: 5 }, (_, index) => ({
      title: `${index}`,
      payload: { steps: 1, stepMs: 20 },
      delayMs: 3_000,
    })),
  })
  const made = await fetch(`${address}/api/tasks/batch`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  const { batchId, items } = (await made.json()) as { batchId: string; items: Task[] }
  subscriptions.ask({ type: 'subscribe', id: 'b', selection: { batch: batchId } })
  t.same(await subscriptions.answer('b'), { type: 'subscribed', id: 'b', tasks: 5 })
  const other = await createTask(address, { payload: { steps: 0 } })
  await Promise.all(items.map((task) => subscriptions.ended(task)))
  t.ok(items.every((task) => subscriptions.versions(task).at(-1) === 'transition 4'))
  t.same(subscriptions.of(other), [])
})

t.test('a task that stops matching is dropped after the transition that says so', async (t) => {
  const subscriptions = await openSubscriptions(t)
  const task = await createTask(address, { tags: ['s'], payload: { steps: 1, stepMs: 20 }, delayMs: 3_000 })
  subscriptions.ask({ type: 'subscribe', id: 's', selection: { status: 'SCHEDULED', tag: 's' } })
  await subscriptions.until(() => subscriptions.of(task).some(({ status }) => status === 'PENDING'))
  await (await fetch(`${address}/api/tasks/${task.id}?wait=30`)).json()
  subscriptions.ask({ type: 'ping', id: 'p' })
  await subscriptions.answer('p')
  t.same(subscriptions.versions(task), ['snapshot 1', 'transition 2'])
})

t.test('tasks are reported when they fail', async (t) => {
  const subscriptions = await openSubscriptions(t)
  subscriptions.ask({ type: 'subscribe', id: 'f', selection: { status: 'FAILED' } })
  await subscriptions.answer('f')
  const task = await createTask(address, { payload: { steps: 2, stepMs: 10, failAt: 1 } })
  await subscriptions.ended(task)
  t.match(subscriptions.of(task), [{ type: 'snapshot', status: 'FAILED', version: 3 }])
})

t.test('a task that several subscriptions select is sent once, until the last of them goes', async (t) => {
  const subscriptions = await openSubscriptions(t)
  const task = await createTask(address, { tags: ['twice'], payload: { steps: 2, stepMs: 20 }, delayMs: 3_000 })
  subscriptions.ask({ type: 'subscribe', id: 'a', selection: { ids: [task.id] } })
  subscriptions.ask({ type: 'subscribe', id: 'b', selection: { tag: 'twice' } })
  await Promise.all([subscriptions.answer('a'), subscriptions.answer('b')])
  subscriptions.ask({ type: 'unsubscribe', id: 'a' })
  await subscriptions.until(() => subscriptions.said.some((said) => said.type === 'unsubscribed' && said.id === 'a'))
  await subscriptions.ended(task)
  t.same(subscriptions.versions(task), ['snapshot 1', 'transition 2', 'transition 3', 'transition 4'])

  const next = await createTask(address, { delayMs: 3_600_000 })
  subscriptions.ask({ type: 'subscribe', id: 'c', selection: { ids: [next.id] } })
  subscriptions.ask({ type: 'unsubscribe', id: 'c' })
  subscriptions.ask({ type: 'unsubscribe', id: 'c' })
  await subscriptions.until(() => subscriptions.said.some((said) => said.type === 'refused'))
  t.match(subscriptions.said.at(-1), { type: 'refused', id: 'c', code: 'unknown_subscription' })
})

t.test('an invalid request is refused under its id, and the field is named', async (t) => {
  const subscriptions = await openSubscriptions(t)
  subscriptions.ask({ type: 'subscribe', id: 'x', selection: { status: 'DONE' } })
  t.same(pointersOf(await subscriptions.answer('x')), ['/selection/status'])
  subscriptions.ask({ type: 'subscribe', id: 'y', selection: { ids: [] } })
  t.same(pointersOf(await subscriptions.answer('y')), ['/selection/ids'])
  subscriptions.ask({ type: 'subscribe', id: 'nul', selection: { tag: 'a\0b' } })
  t.same(pointersOf(await subscriptions.answer('nul')), ['/selection/tag'])
  subscriptions.ask({ type: 'subscribe', id: 'both', selection: { ids: [UNKNOWN], tag: 'a' } })
  t.same(pointersOf(await subscriptions.answer('both')), ['/selection/tag'])
  const emoji = '\u{1f600}'.repeat(64)
  subscriptions.ask({ type: 'follow', id: emoji })
  t.same(pointersOf(await subscriptions.answer(emoji)), ['/type'], 'under the whole id')
  subscriptions.ask({ type: 'follow', id: 'kind' })
  t.same(pointersOf(await subscriptions.answer('kind')), ['/type'])
  subscriptions.ask({ type: 'ping', id: 'p', selection: {} })
  t.same(pointersOf(await subscriptions.answer('p')), ['/selection'])
  subscriptions.ask({ type: 'subscribe', id: 'z', selection: { tag: 'none' } })
  subscriptions.ask({ type: 'subscribe', id: 'z', selection: { tag: 'none' } })
  await subscriptions.until(() => subscriptions.said.some((said) => said.type === 'refused' && said.id === 'z'))
  t.match(
    subscriptions.said.find((said) => said.type === 'refused' && said.id === 'z'),
    { code: 'duplicate_id' },
  )
})

t.test('text that is not a request closes with 4500, and too many requests with 4029', async (t) => {
  const wide = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`unknown${index}`, 0]))
  for (const text of [
    'hello',
    '[]',
    '{"type":"ping"}',
    JSON.stringify({ type: 'ping', id: 'a', ...wide }),
    JSON.stringify({ type: 'subscribe', id: 'a', selection: wide }),
    JSON.stringify({ type: 'subscribe', id: 'a', list: { filter: wide } }),
  ]) {
    const { socket, closed } = await openSubscriptions(t)
    socket.send(text)
    t.match(await closed, { code: 4500 })
  }
  const subscriptions = await openSubscriptions(t)
  for (let count = 0; count < 60; count += 1) subscriptions.ask({ type: 'ping', id: 'p' })
  t.match(await subscriptions.closed, { code: 4029 })
})

t.test('a selection made during a burst of changes misses nothing and repeats nothing', async (t) => {
  const subscriptions = await openSubscriptions(t)
  const create = (count: number) =>
    Promise.all(
      Array.from({ length: count }, (_, index) =>
        createTask(address, { tags: ['storm'], payload: { steps: index % 3, stepMs: 30 }, delayMs: index * 5 }),
      ),
    )
  const before = create(60)
  subscriptions.ask({ type: 'subscribe', id: 'storm', selection: { tag: 'storm' } })
  const tasks = [...(await before), ...(await create(60))]
  await subscriptions.answer('storm')
  const reported = await Promise.all(
    tasks.map(async (task) => {
      const last = (await (await fetch(`${address}/api/tasks/${task.id}?wait=60`)).json()) as Task
      // A task that ended before the subscription, or between two polls, is reported as ended or not at all.
      return { task, last }
    }),
  )
  const countReported = () => reported.filter(({ task }) => subscriptions.of(task).length > 0).length
  // A poll finds the later tasks, which may take a second.
  await subscriptions.until(
    () =>
      countReported() > 60 &&
      reported.every(
        ({ task, last }) =>
          subscriptions.of(task).length === 0 || subscriptions.of(task).some(({ version }) => version === last.version),
      ),
  )
  for (const { task, last } of reported) {
    const versions = subscriptions
      .of(task)
      .filter(({ type }) => type !== 'progress' && type !== 'waiting')
      .map(({ version }) => version)
    const [first = last.version + 1] = versions
    t.same(
      versions,
      Array.from({ length: last.version + 1 - first }, (_, index) => first + index),
    )
  }
  t.ok(countReported() > 60, 'later tasks are reported too')
})

t.test('when the server stops, every socket is told to reconnect', async (t) => {
  const [idle, busy] = await Promise.all([openSubscriptions(t), openSubscriptions(t)])
  const task = await createTask(address, { delayMs: 3_600_000 })
  busy.ask({ type: 'subscribe', id: 'a', selection: { ids: [task.id] } })
  await busy.answer('a')
  const stopping = stopWeb()
  for (const { closed } of [idle, busy]) t.match(await closed, { code: 1012, reason: /^retryAfterMs=\d+$/ })
  await stopping
})
