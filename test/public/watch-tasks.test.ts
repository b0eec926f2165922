/** The client over `/ws/tasks`: a selection of tasks, through lost connections. */
import t from 'tap'
import { WebSocket } from 'ws'
import { createTask, watchTasks, type Change } from '../../public/task-stream.js'
import type { Batch } from '../../src/protocol/http.js'
import { startApp } from '../helpers/app.js'
import { startProxy } from '../helpers/proxy.js'

const { address } = await startApp(t, ['worker', 'relay'])
const proxy = await startProxy(t, [Number(new URL(address).port)])
const fast = { baseUrl: `http://127.0.0.1:${proxy.port}`, WebSocket, minDelayMs: 1, maxDelayMs: 20 }

const isOver = (status: string) => status === 'COMPLETED' || status === 'FAILED'

t.test(
  'a selection reports each version of each task once and in order, even if the connection is cut repeatedly',
  async (t) => {
    const versions = new Map<string, number[]>()
    const watch = watchTasks(
      { tag: 'watched' },
      {
        ...fast,
        onChange({ task, message }: Change) {
          if (message.type !== 'progress') versions.set(task.id, [...(versions.get(task.id) ?? []), task.version])
        },
      },
    )
    t.teardown(() => watch.close())
    const tasks = await Promise.all(
      Array.from({ length: 30 }, (_, index) =>
        createTask(
          { tags: ['watched'], payload: { steps: 3, stepMs: 40 + index * 5 }, delayMs: 1_200 + index * 20 },
          { baseUrl: address },
        ),
      ),
    )
    const cutting = setInterval(() => proxy.cut(), 150)
    t.teardown(() => clearInterval(cutting))
    const hasAll = () => tasks.every(({ id }) => isOver(watch.tasks.get(id)?.status ?? ''))
    for await (const { task } of watch) if (isOver(task.status) && hasAll()) break
    for (const { id } of tasks) t.same(versions.get(id), [1, 2, 3, 4])
    t.equal(watch.connection.state, 'closed')
  },
)

t.test('tasks are followed by id; a task that ends leaves the watch open', async (t) => {
  const first = await createTask({ payload: { steps: 0 } }, fast)
  const second = await createTask({ payload: { steps: 1, stepMs: 200 } }, fast)
  const watch = watchTasks({ ids: [first.id, second.id] }, fast)
  const ended: string[] = []
  for await (const { task } of watch) {
    if (isOver(task.status)) ended.push(task.id)
    if (ended.length === 2) break
  }
  t.same(ended.sort(), [first.id, second.id].sort())
})

t.test('a batch is followed as one', async (t) => {
  const body = JSON.stringify({ tasks: Array.from({ length: 3 }, () => ({ payload: { steps: 1, stepMs: 50 } })) })
  const made = await fetch(`${address}/api/tasks/batch`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  const { batchId, items } = (await made.json()) as Batch
  const watch = watchTasks({ batch: batchId }, fast)
  const ended = new Set<string>()
  for await (const { task } of watch) if (isOver(task.status) && ended.add(task.id).size === items.length) break
  t.same(ended, new Set(items.map(({ id }) => id)))
})

t.test('a thousand tasks are resumed after a lost connection, by batch and by id', async (t) => {
  const post = async (path: string, body: object) =>
    (
      await fetch(`${address}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    ).json()
  const tasks = Array.from({ length: 1_000 }, () => ({ delayMs: 3_600_000 }))
  const { batchId, items } = (await post('/api/tasks/batch', { tasks })) as Batch
  const watches = [watchTasks({ batch: batchId }, fast), watchTasks({ ids: items.map(({ id }) => id) }, fast)]
  t.teardown(() => watches.forEach((watch) => watch.close()))
  const changes = watches.map((watch) => watch[Symbol.asyncIterator]())
  for (const change of changes) for (let count = 0; count < items.length; count += 1) await change.next()
  proxy.cut()
  await post(`/api/tasks/${items[0]?.id}/cancel`, {})
  for (const change of changes)
    t.match(await change.next(), {
      value: { task: { id: items[0]?.id }, message: { type: 'transition', status: 'CANCELLED' } },
    })
})

t.test('a selection that the server refuses stops the watch and says why', async (t) => {
  const watch = watchTasks({ tag: 'x'.repeat(51) }, fast)
  await t.rejects(watch[Symbol.asyncIterator]().next(), { name: 'WatchError', code: 4500 })
  t.equal(watch.connection.state, 'stopped')
})
