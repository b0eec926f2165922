/** The client's single connection for lists and tasks, on real services and over connections that are cut. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { WebSocket } from 'ws'
import { createTask, openLive, watchList, type ListWatch } from '../../public/task-stream.js'
import { startApp } from '../helpers/app.js'
import { readList } from '../helpers/list-watch.js'
import { startProxy } from '../helpers/proxy.js'

const { address } = await startApp(t, ['worker', 'relay'])
const proxy = await startProxy(t, [Number(new URL(address).port)])
let opened = 0
class CountedSocket extends WebSocket {
  constructor(url: string) {
    super(url)
    opened += 1
  }
}
const fast = { baseUrl: `http://127.0.0.1:${proxy.port}`, WebSocket: CountedSocket, minDelayMs: 1, maxDelayMs: 20 }

async function until(watch: ListWatch, isTrue: (view: NonNullable<ListWatch['view']>) => boolean): Promise<void> {
  if (watch.view !== undefined && isTrue(watch.view)) return
  for (
    let changes = watch[Symbol.asyncIterator](), next = await changes.next();
    !next.done;
    next = await changes.next()
  )
    if (isTrue(next.value.view)) return
  throw new Error('the watch has ended')
}

for (const transport of ['websocket', 'events'] as const) {
  t.test(`a list and a task over one connection, cut again and again: ${transport}`, async (t) => {
    const tag = `cut-${transport}`
    opened = 0
    const live = openLive({ ...fast, transports: [transport] })
    t.teardown(() => live.close())
    const list = live.watchList({ filter: { tag }, limit: 20 })
    await until(list, () => true)
    const tasks = await Promise.all(
      Array.from({ length: 10 }, () =>
        createTask({ tags: [tag], payload: { steps: 4, stepMs: 100 }, delayMs: 500 }, { baseUrl: address }),
      ),
    )
    const [first] = tasks
    const versions: number[] = []
    // The watch continues after a version: otherwise it would begin with the state at the first connection that lasts.
    const watch = live.watchTask(first?.id ?? '', {
      task: first,
      onChange: ({ task, message }) =>
        void (message.type !== 'progress' && message.type !== 'waiting' && versions.push(task.version)),
    })
    await until(list, ({ items }) => items.length === 10)
    t.ok(opened <= 1, 'one socket for both')
    const cutting = setInterval(() => proxy.cut(), 200)
    t.equal((await watch.finished).status, 'COMPLETED')
    clearInterval(cutting)
    t.same(versions, [2, 3, 4], 'every version, once, in order')
    await until(list, ({ items }) => items.every(({ status }) => status === 'COMPLETED'))
    t.same(list.view?.items, await readList(address, { filter: { tag }, limit: 20 }))
    t.equal(watch.connection.state, 'finished')
    t.equal(list.connection.state, 'live')
  })
}

t.test('a watch switches to another list or window over the same connection', async (t) => {
  opened = 0
  const list = watchList({ filter: { tag: 'cut-websocket' }, limit: 3 }, fast)
  t.teardown(() => list.close())
  await until(list, ({ items, nextCursor }) => items.length === 3 && nextCursor !== null)
  list.change({ filter: { tag: 'cut-websocket' }, limit: 1_000 })
  t.equal(list.view, undefined)
  await until(list, ({ items, nextCursor }) => items.length === 10 && nextCursor === null)
  list.change({ filter: { tag: 'cut-events', status: 'COMPLETED' } })
  await until(list, ({ items }) => items.length === 10 && items.every(({ tags }) => tags[0] === 'cut-events'))
  t.equal(opened, 1)
})

t.test('a refused list ends its watch and says why; the others continue', async (t) => {
  for (const transport of ['websocket', 'events'] as const) {
    const live = openLive({ ...fast, transports: [transport] })
    t.teardown(() => live.close())
    const good = live.watchList({ limit: 1 })
    const bad = live.watchList({ before: 'no cursor' })
    await t.rejects(bad[Symbol.asyncIterator]().next(), { name: 'WatchError', code: 4500 })
    await until(good, ({ items }) => items.length === 1)
    const gone = live.watchTask('019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10')
    await t.rejects(gone.finished, { code: 4504 })
  }
})

t.test('where WebSockets are blocked the list is sent over server-sent events', async (t) => {
  const blocking = createServer(async (request, response) => {
    const answer = await fetch(address + request.url, { headers: { accept: request.headers.accept ?? '*/*' } })
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
    for await (const chunk of answer.body ?? []) response.write(chunk)
    response.end()
  }).listen(0, '127.0.0.1')
  blocking.on('upgrade', (_, socket) => socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'))
  await once(blocking, 'listening')
  t.teardown(() => {
    blocking.closeAllConnections()
    blocking.close()
  })
  const list = watchList(
    { filter: { tag: 'blocked' } },
    { ...fast, baseUrl: `http://127.0.0.1:${(blocking.address() as AddressInfo).port}` },
  )
  t.teardown(() => list.close())
  await until(list, ({ items }) => items.length === 0)
  await createTask({ tags: ['blocked'], delayMs: 3_600_000 }, { baseUrl: address })
  await until(list, ({ items }) => items.length === 1)
})
