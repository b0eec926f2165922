/** Unique keys, batches, expiry, queues, edits and cancels in the store, on both drivers where they differ. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'
import { DEFAULT_PRINCIPAL, serviceOf } from '../../../src/access/principal.js'
import { claimAttemptsIfDue } from '../../../src/store/attempts/claim.js'
import { renewLeasesIfHeld } from '../../../src/store/attempts/lease.js'
import { settleAttemptsIfCurrent } from '../../../src/store/attempts/settle.js'
import { findFaults } from '../../../src/store/deliveries/inspect.js'
import { listWaitingQueues, takeDueDeliveries } from '../../../src/store/deliveries/take-due.js'
import { listTasks } from '../../../src/store/reads/list.js'
import { readTasks } from '../../../src/store/reads/tasks.js'
import { cancelTasksIfUnfinished } from '../../../src/store/tasks/cancel.js'
import { KeyTakenError, createUniqueTasks, readBatchOfKey } from '../../../src/store/tasks/create-unique.js'
import { editTaskIfWaiting, readTaskToEdit } from '../../../src/store/tasks/edit.js'
import { expireTasksIfLate } from '../../../src/store/tasks/expire.js'
import { newTask, openTestDatabase, storeTasks } from '../../helpers/database.js'
import { findViolations, readStored } from '../../helpers/history.js'
import { startPostgres } from '../../helpers/services.js'

const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)
const pool = await openTestDatabase(t, server.url, 'node-postgres')

/** The answers of creates that change no other task. */
const createUnique = async (...given: Parameters<typeof createUniqueTasks>) =>
  (await createUniqueTasks(...given)).answers

const unique = (key: string, type = 'demo.sleep') => newTask({ type, more: { uniqueKey: key } })
const read = async (id: string) => (await readTasks(DEFAULT_PRINCIPAL, db, [id]))[0]
const claim = async (id: string, attempt = 1) =>
  (await claimAttemptsIfDue(db, [{ taskId: id, attempt }], 'w', 60_000))[0]
const complete = (taskId: string) =>
  settleAttemptsIfCurrent(db, [
    { taskId, attempt: 1, outcome: 'completed', status: 'COMPLETED', reason: null, result: null },
  ])

t.test(
  'of many concurrent creates with a unique key one creates the task and the others return it; its end frees the key',
  async (t) => {
    for (const database of [db, pool]) {
      const key = `key of ${database === db}`
      const answers = (
        await Promise.all(Array.from({ length: 30 }, () => createUnique(DEFAULT_PRINCIPAL, database, [unique(key)], 0)))
      ).flat()
      const created = answers.flatMap((answer) => (answer.kind === 'created' ? [answer.created.id] : []))
      t.equal(created.length, 1)
      const [id = ''] = created
      t.same(new Set(answers.flatMap((answer) => (answer.kind === 'existing' ? [answer.id] : []))), new Set(created))
      t.match(
        (await createUnique(DEFAULT_PRINCIPAL, database, [unique(key, 'report.generate')], 0))[0],
        { kind: 'created' },
        'another type is another key',
      )
      await claim(id)
      t.match((await createUnique(DEFAULT_PRINCIPAL, database, [unique(key)], 0))[0], { kind: 'existing', id })
      t.match(await read(id), { status: 'PROCESSING', uniqueKey: key })
      await complete(id)
      t.match(
        (await createUnique(DEFAULT_PRINCIPAL, database, [unique(key)], 0))[0],
        { kind: 'created' },
        'the key is free again',
      )
    }
  },
)

t.test('a create that deadlocks with settlements is retried', async (t) => {
  await createUnique(DEFAULT_PRINCIPAL, db, [unique('first'), unique('second')], 0)
  const other = new pg.Client({ connectionString: server.adminUrl })
  await other.connect()
  t.teardown(() => other.end())
  // A long time-out for this session, so that the other one, the create, detects the deadlock.
  await other.query("set deadlock_timeout = '1min'")
  const remove = (key: string) => other.query('delete from taskwire.unique_keys where key = $1', [key])
  await other.query('begin')
  await remove('second')
  const creating = createUnique(DEFAULT_PRINCIPAL, db, [unique('first'), unique('second')], 0)
  const waits = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
  while ((await other.query(waits)).rowCount === 0) await sleep(10)
  // Now each session waits for the other.
  await remove('first')
  await other.query('commit')
  t.match(await creating, [{ kind: 'created' }, { kind: 'created' }])
})

t.test('a batch is created whole or not at all, even with unique tasks, and only once with a key', async (t) => {
  const batchId = newTask().id
  const batch = () =>
    Array.from({ length: 50 }, (_, index) =>
      newTask({ title: `${index}`, more: { batchId, ...(index === 7 && { uniqueKey: 'seven' }) } }),
    )
  const once = { key: 'batch', fingerprint: 'f', ttlMs: 60_000 }
  const answers = await Promise.allSettled(
    Array.from({ length: 5 }, () => createUnique(DEFAULT_PRINCIPAL, db, batch(), 0, once)),
  )
  t.equal(answers.filter(({ status }) => status === 'fulfilled').length, 1)
  t.ok(answers.every((answer) => answer.status === 'fulfilled' || answer.reason instanceof KeyTakenError))
  const replay = await readBatchOfKey(DEFAULT_PRINCIPAL, db, 'batch')
  t.equal(replay?.fingerprint, 'f')
  t.equal(replay?.ids.length, 50)
  t.equal((await listTasks(DEFAULT_PRINCIPAL, db, { batch: batchId, limit: 100 })).length, 50)
  const broken = [newTask({ title: 'fine' }), { ...newTask(), priority: 99_999 }]
  await t.rejects(createUnique(DEFAULT_PRINCIPAL, db, broken, 0))
  t.equal(await read(broken[0]?.id ?? ''), undefined)
})

t.test('a task not started in time is EXPIRED, and cannot be claimed even before the sweep', async (t) => {
  const ids = await storeTasks(db, 3, {
    maxAttempts: 3,
    more: { expiresAt: new Date(Date.now() + 3_600_000).toISOString() },
  })
  const [late = '', started = '', retrying = ''] = ids
  await claim(started)
  await claim(retrying)
  await settleAttemptsIfCurrent(db, [
    { taskId: retrying, attempt: 1, outcome: 'failed', status: 'RETRYING', reason: 'no', retryInMs: 0 },
  ])
  for (const [table, key] of [
    ['tasks', 'id'],
    ['deliveries', 'task_id'],
  ]) {
    await db.run(
      {
        name: `test_expire_${table}`,
        text: `update taskwire.${table} set expires_at = now() - interval '1 ms' where ${key} = any($1::text::uuid[])`,
      },
      [`{${ids.join()}}`],
    )
  }
  t.equal(await claim(late), undefined)
  const expired = (await Promise.all([1, 2, 3].map(() => expireTasksIfLate(db, 100)))).flat()
  t.same(expired.map(({ taskId }) => taskId).sort(), [late, retrying].sort())
  t.match(
    expired.find(({ taskId }) => taskId === late),
    { status: 'EXPIRED', from: 'PENDING', version: 2, reason: 'not started in time' },
  )
  t.match(await read(late), { status: 'EXPIRED', finishedAt: /^2/ })
  t.match(await read(started), { status: 'PROCESSING' }, 'a started task continues')
  t.same(await expireTasksIfLate(db, 100), [])
})

t.test('deliveries are taken by queue, and queues with deliveries are found', async (t) => {
  await storeTasks(db, 3, { queue: 'reports' })
  await storeTasks(db, 2, { queue: 'emails' })
  const names = await listWaitingQueues(db)
  t.ok(['emails', 'reports'].every((name) => names.includes(name)))
  t.same(names, [...new Set(names)].sort(), 'each once')
  await db.run({ name: 'test_due', text: `update taskwire.deliveries set due_at = now()` }, [])
  const { deliveries } = await takeDueDeliveries(db, 'reports', 100, 60_000)
  t.same(
    deliveries.map(({ queue }) => queue),
    ['reports', 'reports', 'reports'],
  )
  t.equal((await takeDueDeliveries(db, 'nobody', 100, 60_000)).deliveries.length, 0)
})

t.test('a task that waits can be edited; one that has started, or moved, cannot', async (t) => {
  const [waiting = ''] = await storeTasks(db, 1)
  const [later = ''] = await storeTasks(db, 1, { delayMs: 3_600_000 })
  t.ok(
    await editTaskIfWaiting(DEFAULT_PRINCIPAL, db, waiting, {
      title: 'new',
      payload: { steps: 1 },
      priority: 9,
      tags: ['a', 'b'],
      expiresAt: '2999-01-01T00:00:00.000Z',
    }),
  )
  t.match(await read(waiting), {
    title: 'new',
    payload: { steps: 1 },
    priority: 9,
    tags: ['a', 'b'],
    expiresAt: '2999-01-01T00:00:00.000Z',
    version: 2,
  })
  t.ok(await editTaskIfWaiting(DEFAULT_PRINCIPAL, db, waiting, { expiresAt: null }))
  t.match(await read(waiting), { title: 'new', expiresAt: null })
  t.notOk(
    await editTaskIfWaiting(DEFAULT_PRINCIPAL, db, waiting, { runAt: '2999-01-01T00:00:00.000Z' }),
    'a PENDING task has no start time to change',
  )
  t.ok(await editTaskIfWaiting(DEFAULT_PRINCIPAL, db, later, { runAt: '2000-01-01T00:00:00.000Z' }))
  const { deliveries } = await takeDueDeliveries(db, 'default', 1_000, 60_000)
  t.ok(
    deliveries.some(({ taskId }) => taskId === later),
    'its delivery moved with it',
  )
  const seenState = async () => (await readTaskToEdit(DEFAULT_PRINCIPAL, db, waiting))?.state ?? ''
  for (const other of [
    { title: 'old' },
    { payload: {} },
    { priority: 1 },
    { tags: [] },
    { expiresAt: '2998-01-01T00:00:00.000Z' },
  ]) {
    const before = await seenState()
    t.ok(
      await editTaskIfWaiting(DEFAULT_PRINCIPAL, db, waiting, other, before),
      'an edit of the state that was read is stored',
    )
    t.notOk(
      await editTaskIfWaiting(DEFAULT_PRINCIPAL, db, waiting, { title: 'x' }, before),
      `an edit of an outdated state is refused: ${Object.keys(other)}`,
    )
  }
  await editTaskIfWaiting(DEFAULT_PRINCIPAL, db, waiting, { title: 'new' })
  const state = await seenState()
  const edits = await Promise.all(
    ['one', 'two', 'three'].map((tag) => editTaskIfWaiting(DEFAULT_PRINCIPAL, db, waiting, { tags: [tag] }, state)),
  )
  t.equal(edits.filter(Boolean).length, 1, 'only one of the edits of the same state is stored')
  t.notOk(await editTaskIfWaiting(serviceOf('somebody', 'test'), db, waiting, { title: 'x' }), "somebody else's")
  await claim(waiting)
  t.notOk(await editTaskIfWaiting(DEFAULT_PRINCIPAL, db, waiting, { title: 'x' }))
  t.match(await read(waiting), { title: 'new' })
})

t.test(
  'a cancel ends waiting tasks, asks running ones to stop, includes children on request, and is idempotent',
  async (t) => {
    const [parent = ''] = await storeTasks(db, 1)
    const [child = '', running = ''] = await storeTasks(db, 2, { more: { parentId: parent } })
    const [grandchild = ''] = await storeTasks(db, 1, { delayMs: 60_000, more: { parentId: child } })
    const [stranger = ''] = await storeTasks(db, 1)
    await claim(running)
    t.same(
      await cancelTasksIfUnfinished(serviceOf('somebody', 'test'), db, [parent], { reason: null, withChildren: true }),
      [],
    )
    const alone = await cancelTasksIfUnfinished(DEFAULT_PRINCIPAL, db, [parent], {
      reason: 'no more',
      withChildren: false,
    })
    t.match(alone, [{ taskId: parent, status: 'CANCELLED', from: 'PENDING', version: 2, reason: 'no more' }])
    const family = await cancelTasksIfUnfinished(DEFAULT_PRINCIPAL, db, [parent], { reason: null, withChildren: true })
    t.same(
      family.map(({ taskId, status }) => `${taskId} ${status}`).sort(),
      [`${child} CANCELLED`, `${grandchild} CANCELLED`, `${running} CANCELLING`].sort(),
    )
    t.same(await cancelTasksIfUnfinished(DEFAULT_PRINCIPAL, db, [parent], { reason: null, withChildren: true }), [])
    t.match(await read(stranger), { status: 'PENDING' })
    t.same(
      await renewLeasesIfHeld(db, [{ taskId: running, attempt: 1 }], 60_000),
      [{ taskId: running, attempt: 1, isCancelling: true }],
      'its worker learns of the cancel when it renews the lease',
    )
    const [end] = await settleAttemptsIfCurrent(db, [
      { taskId: running, attempt: 1, outcome: 'lost', status: 'PENDING', reason: 'worker lost 1 time; put back' },
    ])
    t.match(end, { status: 'CANCELLED', from: 'CANCELLING', reason: null }, 'a lost worker does not revive the task')
  },
)

t.test('no history has a gap, and every unfinished task has a delivery or a lease', async (t) => {
  t.same(findViolations(await readStored(db), []), [])
  t.same(await findFaults(db), [])
})
