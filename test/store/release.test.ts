/** The release: which gated deliveries may be claimed, in which order, and what holds the others. */
import t from 'tap'
import type { NewTask } from '../../src/store/tasks/create.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { settleAttemptsIfCurrent, type Settlement } from '../../src/store/attempts/settle.js'
import { takeDueDeliveries } from '../../src/store/deliveries/take-due.js'
import { releaseDeliveries } from '../../src/store/release/release.js'
import { recordHeartbeat } from '../../src/store/workers.js'
import { createTasks } from '../../src/store/tasks/create.js'
import { newTask, openTestDatabase } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)
let names = 0

/** A queue with this many slots. */
async function openQueue(slots: number): Promise<string> {
  const queue = `q${(names += 1)}`
  await recordHeartbeat(
    db,
    {
      id: `w-${queue}`,
      host: 'h',
      pid: 1,
      version: '0',
      types: [],
      queues: [{ name: queue, slots, running: 0 }],
      isStopping: false,
      isDraining: false,
    },
    600_000,
  )
  return queue
}

const run = (text: string) => db.run({ name: `test_${(names += 1)}`, text }, [])

async function store(count: number, task: Partial<NewTask>): Promise<string[]> {
  const tasks = Array.from({ length: count }, () => newTask({ isGated: true, isHandedOver: false, ...task }))
  await createTasks(db, tasks, 60_000)
  return tasks.map(({ id }) => id)
}

const release = async () => (await releaseDeliveries(db, 60_000)).deliveries.map(({ taskId }) => taskId)

const end = (taskId: string, more: Partial<Settlement> = {}) =>
  settleAttemptsIfCurrent(db, [
    { taskId, attempt: 1, outcome: 'completed', status: 'COMPLETED', reason: null, ...more },
  ])

const claim = async (taskId: string, attempt = 1) =>
  (await claimAttemptsIfDue(db, [{ taskId, attempt }], 'w', 60_000))[0]

t.test('a limit of two: two at a time, the next when one has ended', async (t) => {
  const queue = await openQueue(10)
  await run(
    `insert into taskwire.limits (name, queue, concurrency, set_by) values ('two-${queue}', '${queue}', 2, 'test')`,
  )
  const ids = await store(5, { queue })
  t.same(await release(), ids.slice(0, 2))
  t.same(await release(), [])
  t.match(await claim(ids[2] ?? ''), { isGated: true }, 'one that was not released is not claimed')
  for (const id of ids.slice(0, 2)) t.match(await claim(id), { gate: 'released' })
  t.same(await release(), [], 'a claim makes no room')
  await end(ids[0] ?? '')
  t.same(await release(), ids.slice(2, 3))
  t.same((await run('select * from taskwire.holds')).length, 2)
})

t.test('a key of its own each: they do not wait for each other', async (t) => {
  const queue = await openQueue(10)
  await run(
    `insert into taskwire.limits (name, queue, per, concurrency, set_by) values ('key-${queue}', '${queue}', 'key', 1, 'test')`,
  )
  const a = await store(3, { queue, more: { concurrencyKey: 'a' } })
  const b = await store(3, { queue, more: { concurrencyKey: 'b' } })
  t.same((await release()).sort(), [a[0], b[0]].sort())
  await claim(a[0] ?? '')
  await end(a[0] ?? '')
  t.same(await release(), [a[1]])
})

t.test('a sequence: one after the other, over retries', async (t) => {
  const queue = await openQueue(10)
  const ids = await store(3, { queue, maxAttempts: 3, more: { sequenceKey: 's' } })
  t.same(await release(), [ids[0]])
  await claim(ids[0] ?? '')
  await end(ids[0] ?? '', { outcome: 'failed', status: 'RETRYING', retryInMs: 0 })
  t.same(await release(), [])
  await takeDueDeliveries(db, queue, 10, 60_000)
  t.same(await release(), [ids[0]], 'its retry comes first')
  await claim(ids[0] ?? '', 2)
  await end(ids[0] ?? '', { attempt: 2 })
  t.same(await release(), [ids[1]])
  await claim(ids[1] ?? '')
  await end(ids[1] ?? '', { outcome: 'failed', status: 'FAILED' })
  t.same(await release(), [], 'halted')
})

t.test('a rate', async (t) => {
  const queue = await openQueue(100)
  await run(
    `insert into taskwire.limits (name, queue, rate, period_ms, burst, set_by) values ('rate-${queue}', '${queue}', 10, 60000, 3, 'test')`,
  )
  const ids = await store(6, { queue })
  t.same(await release(), ids.slice(0, 3))
  const { deliveries, nextInMs } = await releaseDeliveries(db, 60_000)
  t.same(deliveries, [])
  t.ok((nextInMs ?? 0) > 0 && (nextInMs ?? 0) <= 6_000, `${nextInMs}`)
  await run(`update taskwire.rates set next_at = next_at - interval '12 s'`)
  await run(`update taskwire.wakes set at = now()`)
  t.same(await release(), ids.slice(3, 5))
})

t.test('shares of tenants', async (t) => {
  const queue = await openQueue(4)
  const a = await store(20, { queue, tenant: 'a' })
  t.same((await release()).length, 4)
  for (const id of a.slice(0, 4)) await claim(id)
  const b = await store(20, { queue, tenant: 'b' })
  const next = await release()
  t.same([next.filter((id) => a.includes(id)).length, next.filter((id) => b.includes(id)).length], [2, 2])
})

t.test('priorities', async (t) => {
  const queue = await openQueue(16)
  const low = await store(20, { queue, priority: 0 })
  const high = await store(20, { queue, priority: 5 })
  const next = await release()
  t.same([next.filter((id) => low.includes(id)).length, next.filter((id) => high.includes(id)).length], [1, 15])
})
