/**
 * What the hub keeps of tasks with large payloads and results: their positions, and a bounded cache that they all
 * share.
 */
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { toFrame } from '../../src/live/frame.js'
import { createHeldFrames } from '../../src/live/held-frames.js'
import { MAX_HELD_FRAME_BYTES } from '../../src/live/hub.js'
import type { Status } from '../../src/protocol/status.js'
import type { Task, TaskId } from '../../src/protocol/task.js'
import { Client, openWorld, settle, Store, until } from './world.js'

const LARGE = 'x'.repeat(100_000)
const COUNT = 400
const idOf = (index: number): TaskId => `019aa3f2-7c1e-7b3a-9a55-${index.toString(16).padStart(12, '0')}`

/** Leaves out large values, as PostgreSQL does when it reads tasks for watching. */
function leaveOut(tasks: Task[]) {
  return tasks.map((task) => {
    const isLarge = JSON.stringify([task.payload, task.result]).length > 4_096
    return isLarge ? { ...task, payload: null, result: null, isLarge } : task
  })
}

/** Opens a world with more large tasks than the cache holds. */
async function openLargeWorld(
  t: Parameters<typeof openWorld>[0],
  onFirstRead?: (world: { store: Store }, id: TaskId) => void,
) {
  const wholeReads: TaskId[] = []
  const world: Awaited<ReturnType<typeof openWorld>> = await openWorld(t, {
    readTasks: async (principal, ids) => leaveOut(await world.store.readTasks(principal, ids)),
    readWholeTask: (principal, id) => {
      if (wholeReads.push(id) === 1) onFirstRead?.(world, id)
      return world.store.readWholeTask(principal, id)
    },
  })
  const ids = Array.from({ length: COUNT }, (_, index) => idOf(index))
  for (const id of ids) world.store.tasks.set(id, { ...world.store.create(id), payload: { text: LARGE } })
  return { ...world, ids, wholeReads }
}

/** A client whose socket is full from the start. */
class FullClient extends Client {
  override buffered = 1e9
}

const payloadOf = (client: Client) => (client.messages[0] as unknown as { task: Task }).task.payload

t.test('for watchers that read nothing the hub holds positions, but no payloads', async (t) => {
  const { hub, ids, wholeReads } = await openLargeWorld(t)
  await Promise.all(ids.map((id) => hub.find(DEFAULT_PRINCIPAL, id)))
  const clients = ids.map((id) => new FullClient().attach(hub, id))
  await settle()
  t.same(hub.counts(), { tasks: COUNT, streams: COUNT, heldBytes: 0 })
  t.same(
    ids.filter((id) => hub.task(DEFAULT_PRINCIPAL, id)?.payload !== null),
    [],
    'no room keeps a payload',
  )
  t.same(wholeReads, [], 'no payload was read for a full socket')
  for (const client of clients) client.drain()
  await until(() => clients.every(({ messages }) => messages.length === 1))
  t.same(
    clients.filter((client) => (payloadOf(client) as { text?: string }).text !== LARGE),
    [],
    'a client that reads gets the whole task',
  )
  const { heldBytes } = hub.counts()
  t.ok(
    heldBytes > MAX_HELD_FRAME_BYTES / 2 && heldBytes <= MAX_HELD_FRAME_BYTES,
    `${heldBytes} bytes are held of ${COUNT * LARGE.length}`,
  )
})

t.test('many watchers of one large task share a read, and so do later ones', async (t) => {
  const {
    hub,
    ids: [id = ''],
    wholeReads,
  } = await openLargeWorld(t)
  const clients = Array.from({ length: 50 }, () => new Client().attach(hub, id))
  await until(() => clients.every(({ messages }) => messages.length === 1))
  t.equal(wholeReads.length, 1)
  const late = new Client().attach(hub, id)
  t.same(late.story, ['snapshot 1'], 'a later watcher is served from memory at once')
  t.equal(wholeReads.length, 1)
})

t.test('a large task that changes while it is read is sent in its new state, without gaps', async (t) => {
  const {
    store,
    bus,
    hub,
    ids: [id = ''],
  } = await openLargeWorld(t, ({ store }, id) => void store.commit(id, 'PROCESSING'))
  const commit = (status: Status, extra = {}) => bus.deliver(store.commit(id, status, extra))
  const client = new Client().attach(hub, id)
  await until(() => client.messages.length > 0)
  t.same(client.story, ['snapshot 2'])
  commit('COMPLETED', { result: { text: LARGE } })
  await until(() => client.isEnded)
  t.same(client.story, ['snapshot 2', 'transition 3'])
  t.match(client.messages[1], { result: { text: LARGE } })
  t.equal(hub.task(DEFAULT_PRINCIPAL, id)?.result, null, 'the result is not kept in the task')
  const others = [new Client().attach(hub, id), new Client().attach(hub, id, 1)]
  await until(() => others.every(({ isEnded }) => isEnded))
  t.same(
    others.map(({ story }) => story),
    [['snapshot 3'], ['resumed 1', 'transition 2', 'transition 3']],
  )
  t.match(others[0]?.messages[0], { task: { payload: { text: LARGE }, result: { text: LARGE } } })
})

t.test('a whole task that cannot be read is read at the next check', async (t) => {
  let isAway = true
  const store = new Store()
  const id = idOf(0)
  store.tasks.set(id, { ...store.create(id), payload: { text: LARGE } })
  const { hub } = await openWorld(t, {
    readTasks: async (principal, ids) => leaveOut(await store.readTasks(principal, ids)),
    readVersions: store.readVersions,
    readWholeTask: (principal, given) =>
      isAway ? Promise.reject(new Error('PostgreSQL is away')) : store.readWholeTask(principal, given),
    positionCheckMs: 20,
  })
  const client = new Client().attach(hub, id)
  await until(() => hub.task(DEFAULT_PRINCIPAL, id) !== undefined)
  await settle()
  t.same(client.messages, [])
  isAway = false
  await until(() => client.messages.length === 1)
  t.match(payloadOf(client), { text: LARGE })
})

t.test('large results are dropped from memory in order of their last use', async (t) => {
  const dropped: number[] = []
  const frames = createHeldFrames(1_000)
  const made = [400, 400, 400, 2_000, 100].map((bytes, version) => ({
    ...toFrame({ type: 'resumed', taskId: idOf(0), status: 'PENDING', version }),
    bytes,
  }))
  const hold = (index: number) => {
    const frame = made[index]
    if (frame) frames.hold(frame, () => dropped.push(index))
  }
  hold(0)
  hold(1)
  frames.touch(made[0] as (typeof made)[0])
  hold(2)
  t.same([dropped, frames.heldBytes], [[1], 800])
  hold(3)
  t.same([dropped, frames.heldBytes], [[1, 0, 2, 3], 0], 'a result larger than the bound is not kept')
  hold(4)
  hold(4)
  t.equal(frames.heldBytes, 100)
  frames.release(made[4] as (typeof made)[0])
  t.same([dropped, frames.heldBytes], [[1, 0, 2, 3], 0])
})
