import { sql } from 'drizzle-orm'
import t from 'tap'
import { DEFAULT_PRINCIPAL, serviceOf } from '../../src/access/principal.js'
import type { TaskFilter } from '../../src/protocol/filter.js'
import { fold } from '../../src/protocol/fold.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { findLostAttempts, renewLeasesIfHeld } from '../../src/store/attempts/lease.js'
import { recordProgressIfCurrent } from '../../src/store/attempts/progress.js'
import { type Settlement, settleAttemptsIfCurrent } from '../../src/store/attempts/settle.js'
import { takeDueDeliveries } from '../../src/store/deliveries/take-due.js'
import { listPage, listTasks } from '../../src/store/reads/list.js'
import { readTasks, readTransitionMessages, readTransitions } from '../../src/store/reads/tasks.js'
import { createTasks } from '../../src/store/tasks/create.js'
import { DRIVERS, newTask, openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const LEASE_MS = 60_000
const done = (taskId: string, attempt = 1): Settlement => ({
  taskId,
  attempt,
  outcome: 'completed',
  status: 'COMPLETED',
  reason: null,
  result: { answer: 42 },
})

const server = await startPostgres(t)

for (const driver of DRIVERS) {
  t.test(`the store on ${driver}`, async (t) => {
    const db = await openTestDatabase(t, await server.createDatabase(), driver)
    const read = async (id: string) => {
      const [task] = await readTasks(DEFAULT_PRINCIPAL, db, [id])
      if (task === undefined) throw new Error(`no task ${id}`)
      return task
    }
    const isDue = async (id: string) => {
      const [row] = await db.run<{ due: boolean }>(
        {
          name: 'is_due',
          text: 'select due_at <= now() as due from taskwire.deliveries where task_id = $1::text::uuid',
        },
        [id],
      )
      return row?.due === true
    }
    const countRows = async (table: string, id: string) => {
      const rows = await db.run<{ count: number }>(
        {
          name: `count_${table}`,
          text: `select count(*)::integer as count from taskwire.${table} where task_id = $1::text::uuid`,
        },
        [id],
      )
      return rows[0]?.count
    }

    t.test('a created task is PENDING at version 1, with its transition and its delivery', async (t) => {
      const task = newTask({
        title: 'Ünïcode 🎉 "quoted", \\ {a,b} null',
        payload: { deep: [1, { two: null, '"': '\\n' }] },
        tags: ['a,b', '"\\"', 'null', ''],
        priority: 3,
      })
      const [created] = await createTasks(db, [task], 1_000)
      t.match(created, { id: task.id, status: 'PENDING', runAt: null })
      const stored = await read(task.id)
      t.match(stored, {
        title: task.title,
        payload: task.payload,
        tags: task.tags,
        priority: 3,
        status: 'PENDING',
        version: 1,
        attempt: 0,
      })
      t.equal(stored.createdAt, created?.createdAt.toISOString())
      t.match(await readTransitions(DEFAULT_PRINCIPAL, db, task.id), [
        { version: 1, from: null, status: 'PENDING', at: stored.createdAt },
      ])
      t.equal(await countRows('deliveries', task.id), 1)
    })

    t.test('a task with a later start is SCHEDULED, and the relay makes it PENDING when it is due', async (t) => {
      const later = newTask({ delayMs: 3_600_000 })
      const soon = newTask({ delayMs: 1 })
      const past = newTask({ runAt: '2020-01-01T00:00:00.000Z' })
      const created = await createTasks(db, [later, soon, past], 60_000)
      t.same(
        created.map((task) => task.status),
        ['SCHEDULED', 'SCHEDULED', 'PENDING'],
      )
      t.type((await read(later.id)).runAt, 'string')
      t.equal((await claimAttemptsIfDue(db, [{ taskId: later.id, attempt: 1 }], 'w', LEASE_MS))[0], undefined)

      let taken: Awaited<ReturnType<typeof takeDueDeliveries>> = { deliveries: [], transitions: [] }
      while (!taken.deliveries.some((delivery) => delivery.taskId === soon.id))
        taken = await takeDueDeliveries(db, 'default', 100, 60_000)
      t.match(taken.transitions, [{ taskId: soon.id, version: 2, from: 'SCHEDULED', status: 'PENDING' }])
      t.match(await read(soon.id), { status: 'PENDING', version: 2, runAt: null })
      t.equal((await read(later.id)).status, 'SCHEDULED')
    })

    t.test('a start whose task is being cancelled is skipped, and found the next time', async (t) => {
      const [soon = ''] = await storeTasks(db, 1, { delayMs: 1 })
      while (!(await isDue(soon)));
      await db.transaction(async (cancelling) => {
        await cancelling.orm.execute(sql`select from taskwire.tasks where id = ${soon}::uuid for update`)
        t.notOk(
          (await takeDueDeliveries(db, 'default', 100, 60_000)).deliveries.some(({ taskId }) => taskId === soon),
          'nobody waits',
        )
      })
      t.equal((await read(soon)).status, 'SCHEDULED')
      t.match(await takeDueDeliveries(db, 'default', 100, 60_000), {
        deliveries: [{ taskId: soon }],
        transitions: [{ taskId: soon, status: 'PENDING' }],
      })
    })

    t.test('a claim moves the task, writes a lease and deletes the delivery', async (t) => {
      const [id = ''] = await storeTasks(db, 1)
      const [claimed] = await claimAttemptsIfDue(db, [{ taskId: id, attempt: 1 }], 'worker-a', LEASE_MS)
      t.match(claimed, { id, status: 'PROCESSING', version: 2, attempt: 1, fromStatus: 'PENDING' })
      t.equal(await countRows('deliveries', id), 0)
      t.equal(await countRows('leases', id), 1)
      t.equal((await read(id)).startedAt, claimed?.at.toISOString())
    })

    t.test('of many claims of one attempt exactly one wins, in one batch and across batches', async (t) => {
      const ids = await storeTasks(db, 40)
      const refs = ids.flatMap((taskId) => [
        { taskId, attempt: 1 },
        { taskId, attempt: 1 },
      ])
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, worker) =>
          claimAttemptsIfDue(db, worker % 2 ? refs : refs.toReversed(), `worker-${worker}`, LEASE_MS),
        ),
      )
      const winners = answers
        .flat()
        .filter((claimed) => claimed !== undefined)
        .map((claimed) => claimed.id)
      t.same(winners.sort(), [...ids].sort())
      for (const id of ids) t.equal((await read(id)).version, 2)
    })

    t.test('a late delivery and a late settlement do not hide current ones of the same batch', async (t) => {
      const [id = ''] = await storeTasks(db, 1)
      const both = [
        { taskId: id, attempt: 1 },
        { taskId: id, attempt: 2 },
      ]
      await claimAttemptsIfDue(db, [{ taskId: id, attempt: 1 }], 'w', LEASE_MS)
      await settleAttemptsIfCurrent(db, [{ ...done(id), outcome: 'lost', status: 'PENDING', reason: 'lost' }])
      const claimed = await claimAttemptsIfDue(db, both, 'w', LEASE_MS)
      t.same(
        claimed.map((row) => row?.attempt),
        [undefined, 2],
      )
      const ends = await settleAttemptsIfCurrent(
        db,
        both.map(({ taskId, attempt }) => done(taskId, attempt)),
      )
      t.same(
        ends.map((message) => message?.status),
        [undefined, 'COMPLETED'],
      )
    })

    t.test('of many racing settlements of one attempt exactly one is recorded', async (t) => {
      const ids = await storeTasks(db, 30)
      await claimAttemptsIfDue(
        db,
        ids.map((taskId) => ({ taskId, attempt: 1 })),
        'w',
        LEASE_MS,
      )
      const failed = (taskId: string): Settlement => ({
        ...done(taskId),
        outcome: 'failed',
        status: 'FAILED',
        reason: 'no',
      })
      const put = (taskId: string): Settlement => ({
        ...done(taskId),
        outcome: 'lost',
        status: 'PENDING',
        reason: 'lost',
      })
      const answers = await Promise.all(
        [done, failed, put, done, failed, put].map((make) =>
          settleAttemptsIfCurrent(
            db,
            ids.map((id) => make(id)),
          ),
        ),
      )
      t.equal(answers.flat().filter((message) => message !== undefined).length, ids.length)
      for (const id of ids) {
        t.equal((await read(id)).version, 3)
        t.equal(await countRows('attempts', id), 1)
        t.equal(await countRows('leases', id), 0)
        t.same(
          (await readTransitions(DEFAULT_PRINCIPAL, db, id)).map((transition) => transition.version),
          [1, 2, 3],
        )
      }
    })

    t.test('a late finish of an old attempt changes nothing', async (t) => {
      const [taskId = ''] = await storeTasks(db, 1)
      await claimAttemptsIfDue(db, [{ taskId, attempt: 1 }], 'zombie', LEASE_MS)
      await settleAttemptsIfCurrent(db, [{ taskId, attempt: 1, outcome: 'lost', status: 'PENDING', reason: 'lost' }])
      t.equal((await settleAttemptsIfCurrent(db, [done(taskId, 1)]))[0], undefined)
      await claimAttemptsIfDue(db, [{ taskId, attempt: 2 }], 'next', LEASE_MS)
      t.equal((await settleAttemptsIfCurrent(db, [done(taskId, 1)]))[0], undefined)
      t.same(
        await recordProgressIfCurrent(db, [
          { taskId, attempt: 1, progress: { fraction: 1, done: 1, total: 1, message: null } },
        ]),
        [],
      )
      t.match(await read(taskId), { status: 'PROCESSING', attempt: 2, version: 4, result: null, progress: null })
      t.match((await settleAttemptsIfCurrent(db, [done(taskId, 2)]))[0], { version: 5, status: 'COMPLETED' })
      t.equal((await claimAttemptsIfDue(db, [{ taskId, attempt: 3 }], 'w', LEASE_MS))[0], undefined)
    })

    t.test('progress is stored at the version it belongs to', async (t) => {
      const [taskId = ''] = await storeTasks(db, 1)
      await claimAttemptsIfDue(db, [{ taskId, attempt: 1 }], 'w', LEASE_MS)
      const progress = { fraction: 0.5, done: 1, total: 2, message: 'half' }
      const [message] = await recordProgressIfCurrent(db, [{ taskId, attempt: 1, progress }])
      t.match(message, { type: 'progress', taskId, version: 2, attempt: 1, progress })
      const { progress: stored } = await read(taskId)
      t.match(message, { progress: stored })
      t.match(stored?.at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    })

    t.test('a lease is renewed while it holds, and stays lost once it has run out', async (t) => {
      const [held = '', lost = ''] = await storeTasks(db, 2)
      await claimAttemptsIfDue(db, [{ taskId: held, attempt: 1 }], 'w', LEASE_MS)
      await claimAttemptsIfDue(db, [{ taskId: lost, attempt: 1 }], 'w', 1)
      const isLost = async () => (await findLostAttempts(db, 1_000)).some((attempt) => attempt.taskId === lost)
      while (!(await isLost()));
      const refs = [held, lost].map((taskId) => ({ taskId, attempt: 1 }))
      t.same(await renewLeasesIfHeld(db, refs, LEASE_MS), [{ taskId: held, attempt: 1, isCancelling: false }])
      t.match(await findLostAttempts(db, 1_000), [{ taskId: lost, attempt: 1, worker: 'w', lostBefore: 0 }])
      await settleAttemptsIfCurrent(db, [
        { taskId: lost, attempt: 1, outcome: 'lost', status: 'FAILED', reason: 'lost' },
      ])
      t.same(await findLostAttempts(db, 1_000), [])
    })

    t.test('several relays take each due delivery once, and a lost dispatch is due again', async (t) => {
      const tasks = Array.from({ length: 60 }, () => newTask())
      await createTasks(db, tasks, 0)
      const takes = await Promise.all(Array.from({ length: 6 }, () => takeDueDeliveries(db, 'default', 1_000, 1)))
      const taken = takes
        .flatMap((take) => take.deliveries.map((delivery) => delivery.taskId))
        .filter((id) => tasks.some((task) => task.id === id))
      t.equal(new Set(taken).size, 60)
      const again = new Set<string>()
      while (again.size < 60)
        for (const { taskId } of (await takeDueDeliveries(db, 'default', 1_000, 1)).deliveries)
          if (tasks.some((task) => task.id === taskId)) again.add(taskId)
      t.equal(again.size, 60)
    })

    t.test('a delivery that its task can no longer use is dropped', async (t) => {
      const [id = ''] = await storeTasks(db, 1)
      await db.run(
        {
          name: 'test_cancel',
          text: `update taskwire.tasks set status = 'CANCELLED', version = 2 where id = $1::text::uuid`,
        },
        [id],
      )
      await db.run(
        {
          name: 'test_due',
          text: `update taskwire.deliveries set due_at = now() - interval '1 s' where task_id = $1::text::uuid`,
        },
        [id],
      )
      const { deliveries } = await takeDueDeliveries(db, 'default', 1_000, 60_000)
      t.notOk(deliveries.some((delivery) => delivery.taskId === id))
      t.equal(await countRows('deliveries', id), 0)
    })

    t.test('folding the stored history over a snapshot gives the stored task', async (t) => {
      const task = newTask({ delayMs: 1 })
      await createTasks(db, [task], 1)
      const first = await read(task.id)
      while ((await read(task.id)).status === 'SCHEDULED') await takeDueDeliveries(db, 'default', 1_000, 60_000)
      const life = async (attempt: number, settlement: Settlement) => {
        await claimAttemptsIfDue(db, [{ taskId: task.id, attempt }], 'w', LEASE_MS)
        await settleAttemptsIfCurrent(db, [settlement])
      }
      await life(1, { taskId: task.id, attempt: 1, outcome: 'released', status: 'PENDING', reason: 'handed back' })
      const failure = { code: 'error' as const, message: 'oh no', attempt: 2 }
      await life(2, { taskId: task.id, attempt: 2, outcome: 'failed', status: 'FAILED', reason: 'oh no', failure })
      let folded = first
      for (const message of await readTransitionMessages(DEFAULT_PRINCIPAL, db, task.id, first.version, 100)) {
        const step = fold(folded, message)
        t.equal(step.outcome, 'applied')
        folded = step.task
      }
      t.same(folded, await read(task.id))
      t.equal(folded.status, 'FAILED')
    })

    t.test('a page lists newest first, and each filter finds the matching tasks', async (t) => {
      const tenant = `tenant-${driver}`
      const [pending = '', running = '', failed = '', completed = '', scheduled = ''] = [
        ...(await storeTasks(db, 4, { tenant })),
        ...(await storeTasks(db, 1, { tenant, delayMs: 3_600_000, tags: ['night'], type: 'report.generate' })),
      ]
      const refs = [running, failed, completed].map((taskId) => ({ taskId, attempt: 1 }))
      await claimAttemptsIfDue(db, refs, 'w', LEASE_MS)
      await settleAttemptsIfCurrent(db, [done(completed), { ...done(failed), outcome: 'failed', status: 'FAILED' }])
      const list = async (filter: TaskFilter & { beforeId?: string; limit?: number }) =>
        (await listTasks(serviceOf(tenant, 'test'), db, { limit: 10, ...filter })).map((task) => task.id)
      t.same(await list({}), [scheduled, completed, failed, running, pending])
      t.same(await list({ status: 'PENDING' }), [pending])
      t.same(await list({ status: 'SCHEDULED' }), [scheduled])
      t.same(await list({ status: 'PROCESSING' }), [running])
      t.same(await list({ status: 'FAILED' }), [failed])
      t.same(await list({ status: 'COMPLETED' }), [completed])
      t.same(await list({ status: 'WAITING' }), [])
      t.same(await list({ type: 'report.generate' }), [scheduled])
      t.same(await list({ tag: 'night' }), [scheduled])
      t.same(await list({ beforeId: failed, limit: 1 }), [running])
      t.same(await listTasks(serviceOf('somebody else', 'test'), db, { limit: 10 }), [])
      t.same(await readTasks(serviceOf('somebody else', 'test'), db, [pending]), [])
    })

    t.test('both ways to read a task return the same columns', async (t) => {
      const [id = ''] = await storeTasks(db, 1, { payload: { a: 1 }, tags: ['x'] })
      const {
        items: [listed],
      } = await listPage(DEFAULT_PRINCIPAL, db, {}, { limit: 1, fields: ['payload', 'result'] })
      t.same(listed, await read(id))
      const { payload, result, ...summary } = await read(id)
      t.same([payload, result], [{ a: 1 }, null])
      t.same(await listTasks(DEFAULT_PRINCIPAL, db, { limit: 1 }), [summary])
    })
  })
}
