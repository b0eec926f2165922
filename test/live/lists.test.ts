/**
 * List rooms against a plain list. Notices are lost, late or duplicated, reads start and end at any time, and some
 * clients are slow. Once things are quiet, each watcher holds the stored state, and no message contained a payload.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { ListQuery, ListReads } from '../../src/live/list-query.js'
import type { ListSink } from '../../src/live/list-stream.js'
import { startLists } from '../../src/live/lists.js'
import type { NoticeListener, Notices } from '../../src/live/notices.js'
import { LOW_WATER_BYTES } from '../../src/live/task-stream.js'
import type { TaskFilter } from '../../src/protocol/filter.js'
import { compareRows, type ListStreamMessage } from '../../src/protocol/list.js'
import { isFinal, TRANSITIONS, type Status } from '../../src/protocol/status.js'
import type { TaskSummary } from '../../src/protocol/task.js'
import { atDepth } from '../helpers/depth.js'
import { sampleSummary } from '../helpers/sample-task.js'
import { NO_LOG } from './world.js'

/** Tasks as PostgreSQL would hold them; reads take a while. */
class Store {
  readonly tasks = new Map<string, { task: TaskSummary; stamp: string }>()
  reads = 0
  isAway = false
  #stamp = 0

  put(task: TaskSummary): void {
    this.tasks.set(task.id, { task, stamp: String(++this.#stamp) })
  }

  listOf({ filter, limit, before }: ListQuery): TaskSummary[] {
    const compare = compareRows(filter)
    const fitting = [...this.tasks.values()]
      .map(({ task }) => task)
      .filter((task) => fits(filter, task))
      .sort(compare)
    return fitting.filter((task) => before === undefined || task.id < before.id).slice(0, limit)
  }

  readonly reader: ListReads = {
    find: (filter, { limit, position }) =>
      this.#read(() => {
        const rows = this.listOf({ filter, limit, before: position })
        const found = rows.map((task) => ({
          id: task.id,
          createdAt: task.createdAt,
          status: task.status,
          version: task.version,
          stamp: this.tasks.get(task.id)?.stamp ?? '',
        }))
        return { found, next: found.length === limit ? (found.at(-1) ?? null) : null }
      }),
    readRows: (filter, ids) =>
      this.#read(() => ids.flatMap((id) => this.tasks.get(id) ?? []).filter(({ task }) => fits(filter, task))),
    count: () => this.#read(() => ({ byStatus: {}, more: [] })),
  }

  /** Returns the state at the start or at the end of the read. */
  async #read<Value>(look: () => Value): Promise<Value> {
    this.reads += 1
    const isEarly = this.reads % 2 === 0
    const early = isEarly ? look() : undefined
    await sleep(this.reads % 4)
    if (this.isAway) throw new Error('away')
    return early ?? look()
  }
}

function fits({ status, type, tag }: TaskFilter, task: TaskSummary): boolean {
  return (
    (status === undefined || status === task.status) &&
    (type === undefined || type === task.type) &&
    (tag === undefined || task.tags.includes(tag))
  )
}

function newTask(number: number): TaskSummary {
  return sampleSummary(`019aa3f2-7c1e-7b3a-9a55-${String(number).padStart(12, '0')}`, {
    title: `task ${number}`,
    type: number % 3 === 0 ? 'rare' : 'common',
    tags: number % 2 === 0 ? ['even'] : [],
    createdAt: new Date(1_790_000_000_000 + number).toISOString(),
  })
}

class Watcher implements ListSink {
  readonly rows = new Map<string, TaskSummary>()
  revision = 0
  wholes = 0
  isFull = false
  closed: number | undefined
  reason = ''

  constructor(readonly query: ListQuery) {}

  sendList(json: string): void {
    const message = JSON.parse(json) as ListStreamMessage
    if (this.isFull) throw new Error('sent to a full socket')
    if (message.type === 'change' && message.revision !== this.revision + 1)
      throw new Error('a change does not follow the previous one')
    if (json.includes('"payload"') || json.includes('"result"')) throw new Error('a list contains a forbidden field')
    this.revision = message.revision
    if (message.type === 'list') {
      this.wholes += 1
      this.rows.clear()
    }
    for (const row of message.type === 'list' ? message.items : (message.upsert ?? [])) this.rows.set(row.id, row)
    if (message.type === 'change') for (const id of message.remove ?? []) this.rows.delete(id)
  }

  bufferedBytes = () => (this.isFull ? LOW_WATER_BYTES + 64 * 1024 : 0)
  close = (code: number, reason: string) => {
    this.closed = code
    this.reason = reason
  }
  held = () => [...this.rows.values()].sort(compareRows(this.query.filter))
}

function openWorld() {
  const store = new Store()
  const listeners = new Set<NoticeListener>()
  const notices: Notices = {
    add: async (listener) => void listeners.add(listener),
    remove: (listener) => void listeners.delete(listener),
    isUp: () => true,
  }
  const lists = startLists({ notices, readsFor: () => store.reader, encodeCursor: ({ id }) => id, log: NO_LOG })
  const tell = ({ id, version, status, type, queue, tags, batchId, parentId, createdAt }: TaskSummary) => {
    for (const one of listeners)
      one.onNotices([{ taskId: id, version, status, facts: { type, queue, tags, batchId, parentId, createdAt } }])
  }
  return { store, lists, tell, listeners }
}

async function until(isTrue: () => boolean, what: string): Promise<void> {
  for (const endsAtMs = performance.now() + 30_000; !isTrue(); await sleep(10))
    if (performance.now() > endsAtMs) throw new Error(`never: ${what}`)
}

const QUERIES: ListQuery[] = [
  { filter: {}, limit: 5 },
  { filter: {}, limit: 1_000 },
  { filter: { status: 'PROCESSING' }, limit: 3 },
  { filter: { status: 'COMPLETED', tag: 'even' }, limit: 4 },
  { filter: { type: 'rare' }, limit: 2 },
]

interface Step {
  act: 'create' | 'move' | 'move' | 'delete' | 'join' | 'fill' | 'drain' | 'wait'
  which: number
  notice: 'told' | 'lost' | 'late' | 'twice'
}
const steps = fc.array(
  fc.record({
    act: fc.constantFrom<Step['act'][]>(
      'create',
      'create',
      'move',
      'move',
      'move',
      'delete',
      'join',
      'fill',
      'drain',
      'wait',
    ),
    which: fc.nat(1_000),
    notice: fc.constantFrom<Step['notice'][]>('told', 'told', 'told', 'lost', 'late', 'twice'),
  }),
  { minLength: 10, maxLength: 60 },
)

t.test('every watcher ends with the stored state, whatever happens to the notices', async (t) => {
  const closes: string[] = []
  await fc.assert(
    fc.asyncProperty(steps, async (story) => {
      const { store, lists, tell } = openWorld()
      const watchers: { watcher: Watcher; stream: { drained(): void } }[] = []
      const joining: Promise<void>[] = []
      const join = async (query: ListQuery) => {
        const watcher = new Watcher(query)
        const list = await lists.open(DEFAULT_PRINCIPAL, query)
        watchers.push({ watcher, stream: list.follow(watcher) })
      }
      try {
        await Promise.all(QUERIES.map(join))
        let count = 0
        for (const { act, which, notice } of story) {
          const ids = [...store.tasks.keys()]
          const task = store.tasks.get(ids[which % Math.max(ids.length, 1)] ?? '')?.task
          const pick = watchers[which % watchers.length]
          let changed: TaskSummary | undefined
          if (act === 'create') changed = newTask((count += 1))
          else if (act === 'move' && task !== undefined && !isFinal(task.status)) {
            const status = TRANSITIONS[task.status][which % TRANSITIONS[task.status].length] as Status
            changed = { ...task, status, version: task.version + 1 }
          } else if (act === 'delete' && task !== undefined) store.tasks.delete(task.id)
          else if (act === 'join') joining.push(join(QUERIES[which % QUERIES.length] ?? { filter: {}, limit: 1 }))
          else if (act === 'fill' && pick) pick.watcher.isFull = true
          else if (act === 'drain' && pick) {
            pick.watcher.isFull = false
            pick.stream.drained()
          } else if (act === 'wait') await sleep(which % 30)
          if (changed === undefined) continue
          const committed = changed
          store.put(committed)
          if (notice === 'told' || notice === 'twice') tell(committed)
          if (notice === 'twice') tell(committed)
          if (notice === 'late') setTimeout(() => tell(committed), which % 50)
        }
        await Promise.all(joining)
        for (const { watcher, stream } of watchers) {
          watcher.isFull = false
          stream.drained()
        }
        const isRight = ({ watcher }: (typeof watchers)[number]) =>
          JSON.stringify(watcher.held()) === JSON.stringify(store.listOf(watcher.query))
        await until(() => watchers.every(isRight), 'all rows are correct')
      } finally {
        lists.stop()
      }
      closes.push(...watchers.map(({ watcher }) => `${watcher.closed} ${watcher.reason}`))
    }),
    { numRuns: atDepth(8, 100), endOnFailure: true },
  )
  t.ok(closes.length > 0)
  t.same(
    closes.filter((close) => !/^1012 retryAfterMs=[123]\d{3}$/.test(close)),
    [],
    'every stream was told at its end to reconnect, after a second at the earliest',
  )
})

t.test('a client that stopped reading receives the whole list once it reads, however much has changed', async (t) => {
  const { store, lists, tell } = openWorld()
  t.teardown(() => lists.stop())
  const query = { filter: {}, limit: 10 }
  const [slow, quick] = [new Watcher(query), new Watcher(query)]
  const stream = (await lists.open(DEFAULT_PRINCIPAL, query)).follow(slow)
  ;(await lists.open(DEFAULT_PRINCIPAL, query)).follow(quick)
  slow.isFull = true
  for (let round = 1; round <= 3; round += 1) {
    store.put(newTask(round))
    tell(newTask(round))
    await until(() => quick.rows.size === round, 'the quick client receives the change')
  }
  t.equal(slow.rows.size, 0)
  slow.isFull = false
  stream.drained()
  t.same(slow.held(), quick.held())
  t.same([slow.wholes, quick.wholes], [2, 1])
})

t.test('an outage of PostgreSQL only costs time, and lists without watchers cost nothing', async (t) => {
  const { store, lists, tell, listeners } = openWorld()
  t.teardown(() => lists.stop())
  const query = { filter: {}, limit: 10 }
  const watcher = new Watcher(query)
  store.isAway = true
  await t.rejects(lists.open(DEFAULT_PRINCIPAL, query))
  store.isAway = false
  const stream = (await lists.open(DEFAULT_PRINCIPAL, query)).follow(watcher)
  store.isAway = true
  store.put(newTask(1))
  tell(newTask(1))
  const before = store.reads
  await until(() => store.reads > before + 1, 'the read is retried')
  store.isAway = false
  await until(() => watcher.rows.size === 1, 'the row arrives')
  stream.stop()
  await until(() => lists.counts().lists === 0 && listeners.size === 0, 'the room is closed')
})

t.test('the numbers of rooms and rows are limited', async (t) => {
  const { lists } = openWorld()
  t.teardown(() => lists.stop())
  for (let index = 0; index < 20; index += 1) {
    const query = { filter: { tag: `${index}` }, limit: 1_000 }
    ;(await lists.open(DEFAULT_PRINCIPAL, query)).follow(new Watcher(query))
  }
  await t.rejects(lists.open(DEFAULT_PRINCIPAL, { filter: {}, limit: 1 }), /lists with 20000 rows/)
  t.equal(
    (await lists.open(DEFAULT_PRINCIPAL, { filter: { tag: '3' }, limit: 1_000 })).name,
    'list-4',
    'a watched list accepts more watchers',
  )
})
