/**
 * Two tenants in one process: a watcher who knows the id of a task of another tenant receives no data of that task,
 * whatever else is watched and published meanwhile.
 */
import t from 'tap'
import { DEFAULT_PRINCIPAL, markTenant, serviceOf } from '../../src/access/principal.js'
import type { ListQuery, ListReads } from '../../src/live/list-query.js'
import { startLists } from '../../src/live/lists.js'
import type { NoticeListener, Notices } from '../../src/live/notices.js'
import type { TaskFilter } from '../../src/protocol/filter.js'
import type { ListStreamMessage } from '../../src/protocol/list.js'
import type { Notice } from '../../src/protocol/notice.js'
import type { TaskSummary } from '../../src/protocol/task.js'
import { sampleSummary } from '../helpers/sample-task.js'
import { Client, ID, NO_LOG, openWorld, OTHER_ID, settle, until } from './world.js'

const ANNA = serviceOf('anna', 'test')
const BERT = serviceOf('bert', 'test')
const ofBert = { tenant: BERT.tenant }

t.test(
  'a watcher that knows the id of a task of another tenant is told that it does not exist, while others watch it',
  async (t) => {
    const { store, bus, hub } = await openWorld(t)
    store.create(ID, BERT.tenant)
    t.equal(await hub.find(BERT, ID), true)
    const owner = new Client().attach(hub, ID, undefined, true, BERT)
    await settle()
    t.same(owner.story, ['snapshot 1'])
    t.equal(hub.task(ANNA, ID), undefined)
    t.equal(await hub.find(ANNA, ID), false)
    const stranger = new Client().attach(hub, ID, undefined, true, ANNA)
    const resuming = new Client().attach(hub, ID, 1, true, ANNA)
    bus.deliver({ ...store.commit(ID, 'PROCESSING'), ...ofBert })
    bus.deliver({ ...store.report(ID, 0.5), ...ofBert })
    bus.deliver({
      type: 'log',
      taskId: ID,
      status: 'PROCESSING',
      version: 2,
      line: { seq: 1, attempt: 1, at: '2026-11-20T21:22:23.456Z', level: 'info', text: 'secret' },
      ...ofBert,
    })
    bus.listener.onHint(ID, store.commit(ID, 'COMPLETED').version, BERT.tenant)
    await until(() => owner.isEnded && stranger.closed !== undefined && resuming.closed !== undefined)
    t.same(
      owner.story.filter((step) => !step.startsWith('log')),
      ['snapshot 1', 'transition 2', 'progress 2 0.5', 'transition 3'],
    )
    for (const { messages, closed } of [stranger, resuming]) t.same([messages, closed?.code], [[], 4504])
  },
)

t.test('events about a task of another tenant change no room, though the ids are the same', async (t) => {
  const { store, bus, hub } = await openWorld(t)
  store.create(ID, ANNA.tenant)
  const client = new Client().attach(hub, ID, undefined, false, ANNA)
  await settle()
  const forged = {
    type: 'transition',
    taskId: ID,
    status: 'COMPLETED',
    version: 2,
    from: 'PENDING',
    attempt: 1,
    at: '2026-11-20T21:22:23.456Z',
    reason: null,
  } as const
  bus.deliver({ ...forged, ...ofBert })
  bus.deliver(forged)
  bus.listener.onHint(ID, 9)
  await settle()
  t.same(client.story, ['snapshot 1'])
  t.equal(hub.task(ANNA, ID)?.version, 1)
})

t.test('frames do not contain the tenant', async (t) => {
  const { store, bus, hub } = await openWorld(t)
  store.create(ID, BERT.tenant)
  const client = new Client().attach(hub, ID, undefined, false, BERT)
  await settle()
  bus.deliver({ ...store.commit(ID, 'PROCESSING'), ...ofBert })
  bus.deliver({ ...store.commit(ID, 'COMPLETED', { result: 1 }), ...ofBert })
  await until(() => client.isEnded)
  t.same(client.messages.slice(1), store.history.get(ID)?.slice(1), 'the messages as they are stored')
})

t.test(
  'a process without tenants sends none: the default tenant receives its events at once, others by the position check',
  async (t) => {
    const { store, bus, hub } = await openWorld(t, { positionCheckMs: 10 })
    store.create(ID)
    store.create(OTHER_ID, BERT.tenant)
    const [ours, theirs] = [new Client().attach(hub, ID), new Client().attach(hub, OTHER_ID, undefined, false, BERT)]
    await settle()
    bus.deliver(store.commit(ID, 'CANCELLED'))
    t.same(ours.story, ['snapshot 1', 'transition 2'])
    bus.deliver(store.commit(OTHER_ID, 'CANCELLED'))
    await until(() => theirs.isEnded)
    t.same(theirs.story, ['snapshot 1', 'transition 2'])
  },
)

t.test('tasks requested together are read together by tenant, and all positions in one query', async (t) => {
  const reads: [string, number][] = []
  let checks = 0
  const { store, hub } = await openWorld(t, {
    positionCheckMs: 10,
    readTasks: async (principal, ids) => {
      reads.push([principal.tenant, ids.length])
      return store.readTasks(principal, ids)
    },
    readVersions: async (ids) => {
      checks += 1
      t.same([...ids].sort(), [ID, OTHER_ID])
      return store.readVersions(ids)
    },
  })
  store.create(ID, ANNA.tenant)
  store.create(OTHER_ID, BERT.tenant)
  t.same(
    await Promise.all([hub.find(ANNA, ID), hub.find(BERT, OTHER_ID), hub.find(ANNA, OTHER_ID), hub.find(BERT, ID)]),
    [true, true, false, false],
  )
  t.same(reads, [
    [ANNA.tenant, 2],
    [BERT.tenant, 2],
  ])
  await until(() => checks > 1)
})

t.test('a task that moves to another tenant disappears for its watchers', async (t) => {
  const { store, hub } = await openWorld(t, { positionCheckMs: 10 })
  store.create(ID, ANNA.tenant)
  const client = new Client().attach(hub, ID, undefined, false, ANNA)
  await settle()
  store.create(ID, BERT.tenant)
  await until(() => client.closed !== undefined)
  t.equal(client.closed?.code, 4504)
})

/** Opens lists over rows in memory, and a bus that sends every notice to all lists. */
function openLists(t: { teardown(run: () => unknown): unknown }) {
  const rows = new Map<string, TaskSummary[]>()
  const listeners = new Set<NoticeListener>()
  const reads: string[] = []
  const notices: Notices = {
    add: async (listener) => void listeners.add(listener),
    remove: (listener) => void listeners.delete(listener),
    isUp: () => true,
  }
  const readsFor = ({ tenant }: { tenant: string }): ListReads => {
    const own = ({ type }: TaskFilter) =>
      (rows.get(tenant) ?? []).filter((task) => type === undefined || task.type === type).reverse()
    return {
      async find(filter) {
        return { found: own(filter).map((task) => ({ ...task, stamp: `${task.version}` })), next: null }
      },
      async readRows(filter, ids) {
        reads.push(tenant)
        return own(filter)
          .filter(({ id }) => ids.includes(id))
          .map((task) => ({ task, stamp: `${task.version}` }))
      },
      async count(filter) {
        return { byStatus: { PENDING: own(filter).length }, more: [] }
      },
    }
  }
  const lists = startLists({ notices, readsFor, encodeCursor: ({ id }) => id, log: NO_LOG })
  t.teardown(() => lists.stop())
  const tell = (notice: Notice) => {
    for (const one of listeners) one.onNotices([notice])
  }
  return { lists, rows, reads, tell }
}

function noticeOf({ id, version, status, type, queue, tags, createdAt }: TaskSummary, tenant: string): Notice {
  return {
    taskId: id,
    ...markTenant(tenant),
    version,
    status,
    facts: { type, queue, tags, batchId: null, parentId: null, createdAt },
  }
}

t.test(
  'two tenants who watch the same list have a room each, and a new task appears only in that of its own tenant',
  async (t) => {
    const { lists, rows, reads, tell } = openLists(t)
    const query: ListQuery = { filter: { type: 'demo.sleep' }, limit: 10 }
    const told = new Map<string, string[]>()
    for (const principal of [ANNA, BERT, DEFAULT_PRINCIPAL]) {
      rows.set(principal.tenant, [])
      const seen: string[] = []
      told.set(principal.tenant, seen)
      const list = await lists.open(principal, query)
      const sendList = (_: string, message: ListStreamMessage) =>
        seen.push(...(message.type === 'list' ? message.items : (message.upsert ?? [])).map(({ id }) => id))
      list.follow({ sendList, bufferedBytes: () => 0, close() {} })
    }
    t.equal(lists.counts().lists, 3)
    reads.length = 0
    rows.set(BERT.tenant, [sampleSummary(ID)])
    tell(noticeOf(sampleSummary(ID), BERT.tenant))
    await until(() => told.get(BERT.tenant)?.length === 1)
    t.same([...told.values()], [[], [ID], []])
    t.same(reads, [BERT.tenant], 'the lists of other tenants read nothing')
  },
)

t.test(
  'a followed filter matches tasks of its own tenant only; a notice without a tenant belongs to the default one',
  async (t) => {
    const { lists, tell } = openLists(t)
    const fits: string[] = []
    const watches = await Promise.all(
      [ANNA, BERT, DEFAULT_PRINCIPAL].map((principal) =>
        lists.watchFits(principal, { type: 'demo.sleep' }, (id) => void fits.push(`${principal.tenant} ${id}`)),
      ),
    )
    tell(noticeOf(sampleSummary(ID), BERT.tenant))
    tell(noticeOf(sampleSummary(OTHER_ID), DEFAULT_PRINCIPAL.tenant))
    t.same(fits, [`${BERT.tenant} ${ID}`, `${DEFAULT_PRINCIPAL.tenant} ${OTHER_ID}`])
    for (const watch of watches) watch.stop()
  },
)

t.test(
  'a list counts the tasks of its own tenant only, even while another tenant counts by the same filter',
  async (t) => {
    const { lists, rows } = openLists(t)
    const counts: unknown[] = []
    rows.set(ANNA.tenant, [sampleSummary(ID)])
    rows.set(BERT.tenant, [sampleSummary(ID), sampleSummary(OTHER_ID)])
    for (const principal of [ANNA, BERT]) {
      const list = await lists.open(principal, { filter: { status: 'PENDING' }, limit: 10 })
      const at = counts.push(null) - 1
      list.follow({
        sendList: (_, message) => void (counts[at] = message.counts ?? counts[at]),
        bufferedBytes: () => 0,
        close() {},
      })
    }
    await until(() => counts.every((one) => one !== null))
    t.match(counts, [{ byStatus: { PENDING: 1 } }, { byStatus: { PENDING: 2 } }])
  },
)
