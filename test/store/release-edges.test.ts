/** The release at its edges: what could leak a hold, exceed a limit or leave a lane blocked with nothing to wake it. */
import t from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Statement } from '../../src/db/database.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { settleAttemptsIfCurrent } from '../../src/store/attempts/settle.js'
import { takeDueDeliveries } from '../../src/store/deliveries/take-due.js'
import { releaseDeliveries } from '../../src/store/release/release.js'
import { createTasks, createTasksStatement, type NewTask } from '../../src/store/tasks/create.js'
import { editTaskIfWaiting } from '../../src/store/tasks/edit.js'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { recordHeartbeat } from '../../src/store/workers.js'
import { newTask, openTestDatabase } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)
let names = 0

const statement = (text: string): Statement => ({ name: `edge_${(names += 1)}`, text })
const run = <Row>(text: string) => db.run<Row>(statement(text), [])

/** A queue with this many slots; without any, no worker is known. */
async function openQueue(slots: number): Promise<string> {
  const queue = `e${(names += 1)}`
  if (slots > 0) await register(queue, slots)
  return queue
}

async function register(queue: string, slots: number): Promise<void> {
  const queues = [{ name: queue, slots, running: 0 }]
  const worker = {
    id: `w-${queue}`,
    host: 'h',
    pid: 1,
    version: '0',
    types: [],
    queues,
    isStopping: false,
    isDraining: false,
  }
  await recordHeartbeat(db, worker, 600_000)
}

async function store(count: number, task: Partial<NewTask>): Promise<string[]> {
  const tasks = Array.from({ length: count }, () =>
    newTask({ isGated: true, isHandedOver: false, maxAttempts: 9, ...task }),
  )
  await createTasks(db, tasks, 60_000)
  return tasks.map(({ id }) => id)
}

const release = async () => (await releaseDeliveries(db, 60_000)).deliveries.map(({ taskId }) => taskId)

const end = (taskId: string, attempt = 1) =>
  settleAttemptsIfCurrent(db, [{ taskId, attempt, outcome: 'completed', status: 'COMPLETED', reason: null }])

const claim = async (taskId: string, attempt = 1) =>
  (await claimAttemptsIfDue(db, [{ taskId, attempt }], 'w', 60_000))[0]

const limit = (name: string, scope: { queue?: string; type?: string }, concurrency: number) =>
  db.run(
    statement(
      `insert into taskwire.limits (name, queue, types, concurrency, set_by) values ($1, $2, case when $3::text is not null then array[$3] end, $4::integer, 'test')`,
    ),
    [name, scope.queue ?? null, scope.type ?? null, concurrency],
  )

const unlimit = (name: string) =>
  run(
    `with gone as (delete from taskwire.limits where name = '${name}') insert into taskwire.wakes (blocked_by) values ('*')`,
  )

t.test('a limit removed between a release and its claim leaves no hold behind', async (t) => {
  const queue = await openQueue(9)
  await limit(queue, { queue }, 1)
  const [a = ''] = await store(1, { queue })
  t.same(await release(), [a])
  await unlimit(queue)
  t.match(await claim(a), { id: a })
  await end(a)
  t.same(await run(`select * from taskwire.holds where limit_name = '${queue}'`), [])
})

t.test('a claim that waited for an edit of the priority does not start what is no longer released', async (t) => {
  const queue = await openQueue(9)
  await limit(queue, { queue }, 1)
  const [a = '', b = ''] = await store(2, { queue })
  t.same(await release(), [a])
  let claiming: Promise<unknown> | undefined
  await db.transaction(async (transaction) => {
    await editTaskIfWaiting(DEFAULT_PRINCIPAL, transaction as never, a, { priority: 5 })
    claiming = claim(a)
    await untilWaiting('claim_attempts')
  })
  await claiming
  await run(`update taskwire.deliveries set due_at = now() where task_id = '${a}'`)
  const next = await release()
  for (const id of next) await claim(id)
  const running = await run(
    `select l.task_id from taskwire.leases l join taskwire.tasks t on t.id = l.task_id where t.queue = '${queue}'`,
  )
  t.equal(running.length, 1, `of ${a} and ${b} one runs`)
})

/** Waits until a statement of this name waits for a lock. */
async function untilWaiting(text: string): Promise<void> {
  for (;;) {
    const waiting = await run<{ query: string }>(
      `select query from pg_stat_activity where wait_event_type = 'Lock' and pid <> pg_backend_pid() and query like '%taskwire%'`,
    )
    if (waiting.length > 0) return
    await sleep(5)
    if (text === '') return
  }
}

t.test('two creates of one sequence that commit in the other order never run at once', async (t) => {
  const queue = await openQueue(9)
  const more = { sequenceKey: queue }
  // Known already: two first creates of a tenant wait for each other.
  await run(`insert into taskwire.queue_tenants (queue) values ('${queue}')`)
  const first = newTask({ queue, isGated: true, isHandedOver: false, more })
  let second: Promise<string[]> | undefined
  await db.transaction(async (transaction) => {
    await transaction.run(createTasksStatement([first]), [60_000, JSON.stringify([first])])
    second = store(1, { queue, more })
    // Either it has committed before the first, or it waits for it.
    await Promise.race([second, untilWaiting('sequence')])
    for (const id of await release()) await claim(id)
  })
  const [b = ''] = (await second) ?? []
  for (const id of await release()) await claim(id)
  const running = () =>
    run<{ task_id: string }>(
      `select l.task_id from taskwire.leases l join taskwire.tasks t on t.id = l.task_id where t.queue = '${queue}'`,
    )
  const [one, two] = await running()
  t.equal(two, undefined, `${first.id} and ${b}: one at a time`)
  await end(one?.task_id ?? '')
  for (const id of await release()) await claim(id)
  t.equal((await running()).length, 1, 'the other follows')
})

t.test('tasks that their sequence no longer lists still run one after the other', async (t) => {
  const queue = await openQueue(9)
  const ids = await store(2, { queue, more: { sequenceKey: queue } })
  await run(`delete from taskwire.sequence_members where key = '${queue}'`)
  const [first = '', ...others] = await release()
  t.same(others, [])
  await claim(first)
  t.same(await release(), [])
  await end(first)
  t.same(
    await release(),
    ids.filter((id) => id !== first),
  )
})

t.test('a tenant that goes on to create tasks in a queue is not forgotten', async (t) => {
  const queue = await openQueue(2)
  const isSeen = async () => {
    const [row] = await run<{ isSeen: boolean }>(
      `select seen_at > now() - interval '1 min' as "isSeen" from taskwire.queue_tenants where queue = '${queue}'`,
    )
    return row?.isSeen
  }
  await store(1, { queue })
  t.equal(await isSeen(), true)
  await run(`update taskwire.queue_tenants set seen_at = now() - interval '6 min' where queue = '${queue}'`)
  await store(1, { queue })
  t.equal(await isSeen(), true)
  t.equal((await release()).length, 2)
})

t.test('room in a limit is not kept for a queue without workers', async (t) => {
  const dead = await openQueue(0)
  const live = await openQueue(9)
  const type = `y${(names += 1)}`
  await limit(type, { type }, 1)
  const [a = '', b = ''] = await store(2, { queue: live, type })
  t.same(await release(), [a])
  await claim(a)
  // It was looked at while its queue had a worker, and is blocked since.
  await register(dead, 1)
  await store(1, { queue: dead, type, priority: 9 })
  t.same(await release(), [])
  await run(`delete from taskwire.workers where id = 'w-${dead}'`)
  await end(a)
  t.same(await release(), [b])
})

t.test('a batch cancel and a release that touch the same deliveries do not deadlock', async (t) => {
  const before = await run<{ deadlocks: string }>(
    'select deadlocks from pg_stat_database where datname = current_database()',
  )
  const queue = await openQueue(9)
  const ids = await store(8, { queue })
  await db
    .transaction(async (transaction) => {
      // As a batch cancel does in its order: it has the second delivery, and wants the first.
      await transaction.run(statement(`delete from taskwire.deliveries where task_id = '${ids[1]}'`), [])
      const releasing = release()
      await Promise.race([releasing, untilWaiting('release')])
      await transaction
        .run(statement(`delete from taskwire.deliveries where task_id = '${ids[0]}'`), [])
        .catch(() => {})
      releasing.catch(() => {})
    })
    .catch(() => {})
  await release()
  await run('select pg_stat_clear_snapshot()')
  await run('select pg_stat_force_next_flush()')
  const after = await run<{ deadlocks: string }>(
    'select deadlocks from pg_stat_database where datname = current_database()',
  )
  t.same(after, before)
})

t.test('a delivery that is locked when its turn comes is released once it is free', async (t) => {
  const queue = await openQueue(9)
  const [a] = await store(1, { queue, more: { sequenceKey: queue } })
  await db.transaction(async (transaction) => {
    await transaction.run(statement(`select from taskwire.deliveries where task_id = '${a}' for update`), [])
    const releasing = release()
    await Promise.race([releasing, untilWaiting('release')])
    releasing.catch(() => {})
  })
  for (let tries = 0; tries < 100; tries += 1) {
    await release()
    const [{ is_released = false } = {}] = await run<{ is_released: boolean }>(
      `select is_released from taskwire.deliveries where task_id = '${a}'`,
    )
    if (is_released) return
    await sleep(10)
  }
  t.fail('it was never released')
})

t.test('a rate that is due wakes a lane whatever the fraction of a microsecond', async (t) => {
  const queue = await openQueue(99)
  await run(
    `insert into taskwire.limits (name, queue, rate, period_ms, burst, set_by) values ('${queue}', '${queue}', 7, 10, 3, 'test')`,
  )
  await store(60, { queue, more: { concurrencyKey: 'a' } })
  await store(60, { queue, more: { concurrencyKey: 'b' } })
  let released = 0
  let idle = 0
  while (released < 120 && idle < 400) {
    const { deliveries, nextInMs } = await releaseDeliveries(db, 60_000)
    for (const { taskId } of deliveries) {
      await claim(taskId)
      await end(taskId)
    }
    released += deliveries.length
    idle = deliveries.length > 0 ? 0 : idle + 1
    if (deliveries.length === 0 && nextInMs === undefined) break
    await sleep(1)
  }
  t.equal(released, 120)
})

t.test('a limit that grows after a pause wakes what waits for it while nothing ends', async (t) => {
  const queue = await openQueue(9)
  await run(
    `insert into taskwire.limits (name, queue, ramp_since, set_by) values ('${queue}', '${queue}', now(), 'test')`,
  )
  const ids = await store(4, { queue })
  t.same(await release(), ids.slice(0, 1))
  await run(`update taskwire.limits set ramp_since = ramp_since - interval '1 s' where name = '${queue}'`)
  await run(`update taskwire.wakes set at = at - interval '1 s'`)
  t.same(await release(), ids.slice(1, 2))
})

t.test('a pause with an end wakes what it holds at its end', async (t) => {
  const queue = await openQueue(9)
  const ids = await store(1, { queue })
  await run(
    `insert into taskwire.pauses (kind, name, set_by, until) values ('queue', '${queue}', 'test', now() + interval '60 s')`,
  )
  t.same(await release(), [])
  const { nextInMs } = await releaseDeliveries(db, 60_000)
  t.ok((nextInMs ?? 0) > 0, `looked at again in ${nextInMs} ms`)
  await run(`update taskwire.pauses set until = until - interval '60 s'`)
  await run(`update taskwire.wakes set at = at - interval '60 s'`)
  t.same(await release(), ids)
})

t.test('two queues that take turns: the low priority of each gets its share', async (t) => {
  const queues = [await openQueue(1), await openQueue(1)]
  const lows: string[] = []
  for (const queue of queues) {
    lows.push(...(await store(1, { queue, priority: 0 })))
    await store(60, { queue, priority: 5 })
  }
  const started: string[] = []
  for (let turn = 0; turn < 40; turn += 1) {
    for (const id of await release()) {
      await claim(id)
      await end(id)
      started.push(id)
    }
  }
  t.same(
    lows.map((id) => started.includes(id)),
    [true, true],
  )
})

t.test(
  'more lanes than one release looks at are paused: what is behind them does not wait for the next tick',
  async (t) => {
    const queue = await openQueue(9)
    const tenant = `t${(names += 1)}`
    await run(`insert into taskwire.pauses (kind, name, set_by) values ('tenant', '${tenant}', 'test')`)
    const tasks = Array.from({ length: 1_700 }, (_, index) =>
      newTask({
        queue,
        tenant,
        priority: 5,
        isGated: true,
        isHandedOver: false,
        more: { concurrencyKey: `k${index}` },
      }),
    )
    await createTasks(db, tasks, 60_000)
    const [b] = await store(1, { queue, priority: 0 })
    const first = await releaseDeliveries(db, 60_000)
    const isAnnounced = first.deliveries.some(({ taskId }) => taskId === b) || first.nextInMs !== undefined
    t.ok(isAnnounced, 'the release says that it may find more')
  },
)

t.test('a pause holds what was released before it, and its end starts it again', async (t) => {
  const queue = await openQueue(9)
  const [a = ''] = await store(1, { queue })
  t.ok((await release()).includes(a))
  await run(`insert into taskwire.pauses (kind, name, set_by) values ('queue', '${queue}', 'test')`)
  t.match(await claim(a), { isGated: true })
  // Other queues have tasks left over.
  t.notOk((await release()).includes(a), 'it waits in its lane')
  await run(
    `with gone as (delete from taskwire.pauses returning *) insert into taskwire.wakes (blocked_by) select 'pause ' || kind || ' ' || tenant || ' ' || name from gone`,
  )
  t.ok((await release()).includes(a))
  t.match(await claim(a), { id: a })
})

t.test('a later start of a task under a limit is not dispatched when it is due: it waits in its lane', async (t) => {
  const queue = await openQueue(9)
  await limit(queue, { queue }, 1)
  const [a = ''] = await store(1, { queue, isGated: false, runAt: new Date(Date.now() + 60_000).toISOString() })
  await run(`update taskwire.deliveries set due_at = now() where task_id = '${a}'`)
  const { deliveries } = await takeDueDeliveries(db, queue, 10, 60_000)
  t.same(deliveries, [])
  t.same(await release(), [a])
})
