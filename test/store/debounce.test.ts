/** Debounced creates in the store, on both drivers: one task per key, no lost payload, and what a start decides. */
import pg from 'pg'
import t from 'tap'
import { DEFAULT_PRINCIPAL, serviceOf } from '../../src/access/principal.js'
import type { Database } from '../../src/db/database.js'
import { createRegistry } from '../../src/definitions/registry.js'
import type { CreateTask } from '../../src/protocol/http.js'
import type { Task } from '../../src/protocol/task.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { takeDueDeliveries } from '../../src/store/deliveries/take-due.js'
import { readTasks, readTransitions } from '../../src/store/reads/tasks.js'
import { cancelTasksIfUnfinished } from '../../src/store/tasks/cancel.js'
import { createUniqueTasks } from '../../src/store/tasks/create-unique.js'
import { expireTasksIfLate } from '../../src/store/tasks/expire.js'
import { readNewTask } from '../../src/tasks/create/new-task.js'
import { marks } from '../fixtures/tasks/debounced.js'
import { openTestDatabase } from '../helpers/database.js'
import { startPostgres, type TestScope } from '../helpers/services.js'

const HOUR = 3_600_000
const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)
const pool = await openTestDatabase(t, server.url, 'node-postgres')
const registry = createRegistry([marks], marks.type)

type Options = Omit<CreateTask, 'type'> & Required<Pick<CreateTask, 'debounce'>>

const make = (mark: string, { debounce, ...options }: Options, tenant = 'default') =>
  readNewTask({ payload: { marks: { [mark]: 1 } }, ...options, debounce }, { tenant }, registry)
const merging = (key: string, delayMs = HOUR) => ({ debounce: { key, delayMs, take: 'merge' as const } })

async function create(mark: string, options: Options, database: Database = db, tenant = 'default') {
  const principal = serviceOf(tenant, 'test')
  const { answers, events } = await createUniqueTasks(principal, database, [make(mark, options, tenant)], 60_000)
  const [answer] = answers
  if (answer === undefined) throw new Error('no answer')
  return { kind: answer.kind, id: answer.kind === 'created' ? answer.task.id : answer.id, events }
}

async function read(id: string): Promise<Task> {
  const [task] = await readTasks(DEFAULT_PRINCIPAL, db, [id])
  if (task === undefined) throw new Error(`no task ${id}`)
  return task
}

const marksOf = async (id: string) => Object.keys(((await read(id)).payload as { marks: object }).marks).sort()
const run = <Row>(text: string) => db.run<Row>({ name: `test_${text}`.slice(0, 60), text }, [])
const countKeys = async () => (await run<{ n: number }>('select count(*)::integer as n from taskwire.debounces'))[0]?.n
const clock = async () => (await run<{ now: Date }>('select clock_timestamp() as now'))[0]?.now.getTime() ?? 0
const start = async () =>
  (await takeDueDeliveries(db, 'default', 1_000, 60_000)).transitions.map(({ taskId }) => taskId)

/** Another connection, whose transaction holds what the test says. */
async function connect(scope: TestScope): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: server.adminUrl })
  await client.connect()
  scope.teardown(() => client.end())
  return client
}

async function untilBlocked(client: pg.Client, count = 1): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ n: number }>(
      `select count(*)::integer as n from pg_stat_activity where wait_event_type = 'Lock'`,
    )
    if ((rows[0]?.n ?? 0) >= count) return
  }
}

t.test('the first create makes a SCHEDULED task, and a further one changes it in one edit', async (t) => {
  const before = await clock()
  const first = await create('a', { ...merging('plain'), title: 'first', tags: ['one'] })
  t.equal(first.kind, 'created')
  const { status, version, runAt } = await read(first.id)
  t.match({ status, version }, { status: 'SCHEDULED', version: 1 })
  const startsAt = Date.parse(runAt ?? '')
  t.ok(startsAt >= before - 1 + HOUR && startsAt <= (await clock()) + 1 + HOUR, 'its start counts from now')
  const second = await create('b', merging('plain'))
  t.match(second, { kind: 'debounced', id: first.id, events: [{ taskId: first.id, version: 2, from: 'SCHEDULED' }] })
  const task = await read(first.id)
  t.same(await marksOf(first.id), ['a', 'b'])
  t.match(task, { status: 'SCHEDULED', version: 2, title: 'first', tags: ['one'] }, 'what it omits stays')
  t.ok(Date.parse(task.runAt ?? '') >= startsAt, 'the start has moved')
  t.same(
    (await readTransitions(DEFAULT_PRINCIPAL, db, first.id)).map(({ edited }) => edited),
    [undefined, ['payload', 'runAt']],
  )
  const last = await create('c', { debounce: { key: 'plain', delayMs: HOUR }, title: 'last', priority: 3 })
  t.equal(last.kind, 'debounced')
  t.match(await read(first.id), { payload: { marks: { c: 1 } }, title: 'last', priority: 3, tags: [], version: 3 })
  t.same(await marksOf(first.id), ['c'], 'the last one replaces all')
})

t.test('the tenant and the type belong to the key', async (t) => {
  const ours = await create('a', merging('shared'))
  const theirs = await create('b', merging('shared'), db, 'another')
  t.match([ours.kind, theirs.kind], ['created', 'created'])
  t.not(ours.id, theirs.id)
})

t.test('the start moves at most to the time that the first create set', async (t) => {
  const debounce = (delayMs: number, maxDelayMs: number) => ({ debounce: { key: 'bounded', delayMs, maxDelayMs } })
  const { id } = await create('a', debounce(HOUR, 2 * HOUR))
  const first = Date.parse((await read(id)).runAt ?? '')
  await create('b', debounce(50 * HOUR, 100 * HOUR))
  t.equal(Date.parse((await read(id)).runAt ?? ''), first + HOUR, 'exactly maxDelayMs after the first')
  await create('c', debounce(HOUR / 2, 100 * HOUR))
  t.ok(Date.parse((await read(id)).runAt ?? '') < first, 'a shorter delay moves it forward')
})

t.test('of many concurrent creates one makes the task, and all payloads are in it', async (t) => {
  for (const [name, databases] of Object.entries({ one: [db], both: [db, pool] })) {
    const count = 60
    const made = await Promise.all(
      Array.from({ length: count }, (_, index) =>
        create(`m${index}`, merging(`many ${name}`), databases[index % databases.length]),
      ),
    )
    t.equal(new Set(made.map(({ id }) => id)).size, 1)
    t.equal(made.filter(({ kind }) => kind === 'created').length, 1)
    const [{ id } = { id: '' }] = made
    t.equal((await marksOf(id)).length, count)
    t.equal((await read(id)).version, count, 'each is one version')
  }
})

t.test('creates with several keys, in any order, beside each other do not deadlock', async (t) => {
  const keys = Array.from({ length: 8 }, (_, index) => `several ${index}`)
  const batches = Array.from({ length: 30 }, (_, index) =>
    keys
      .slice(index % 8)
      .concat(keys.slice(0, index % 8))
      .map((key) => make(`b${index}`, merging(key))),
  )
  const answers = await Promise.all(
    batches.map((batch, index) => createUniqueTasks(DEFAULT_PRINCIPAL, index % 2 ? db : pool, batch, 60_000)),
  )
  const created = answers.flatMap((answer) =>
    answer.answers.flatMap((one) => (one.kind === 'created' ? one.task.id : [])),
  )
  t.equal(created.length, keys.length)
  for (const id of created) t.equal((await marksOf(id)).length, batches.length)
})

t.test('several creates of a call with one key change the task one after the other, in one version', async (t) => {
  const batch = () => ['x', 'y', 'z'].map((mark) => make(mark, { ...merging('in a batch'), title: mark }))
  const first = await createUniqueTasks(DEFAULT_PRINCIPAL, db, batch(), 60_000)
  t.match(
    first.answers.map(({ kind }) => kind),
    ['created', 'debounced', 'debounced'],
  )
  const id = first.answers[0]?.kind === 'created' ? first.answers[0].task.id : ''
  t.match(await read(id), { version: 1, title: 'z', payload: { marks: { x: 1, y: 1, z: 1 } } })
  const more = ['u', 'v'].map((mark) => make(mark, merging('in a batch')))
  const second = await createUniqueTasks(DEFAULT_PRINCIPAL, db, more, 60_000)
  t.match(second, {
    answers: [
      { kind: 'debounced', id },
      { kind: 'debounced', id },
    ],
    events: { length: 1 },
  })
  t.match(await read(id), { version: 2, title: 'z' })
  t.same(await marksOf(id), ['u', 'v', 'x', 'y', 'z'])
})

t.test('once it is started, cancelled or expired, the next create makes a new task, and no row is left', async (t) => {
  const before = await countKeys()
  const started = await create('a', merging('starts', 1))
  while (!(await start()).includes(started.id));
  t.equal(await countKeys(), before)
  const next = await create('b', merging('starts'))
  t.equal(next.kind, 'created')
  t.same([await marksOf(started.id), await marksOf(next.id)], [['a'], ['b']])

  await cancelTasksIfUnfinished(DEFAULT_PRINCIPAL, db, [next.id], { reason: null, withChildren: false })
  t.equal(await countKeys(), before)
  t.equal((await create('c', merging('starts'))).kind, 'created', 'cancelled')

  const expires = await create('d', merging('expires'))
  await run(`update taskwire.deliveries set expires_at = now() where task_id = '${expires.id}'`)
  t.match(await expireTasksIfLate(db, 10), [{ taskId: expires.id }])
  t.equal((await create('e', merging('expires'))).kind, 'created', 'expired')
})

t.test('a create with no delay starts the task at once', async (t) => {
  const before = await countKeys()
  const { id } = await create('a', merging('at once', 0))
  t.match(await read(id), { status: 'PENDING', runAt: null })
  t.equal(await countKeys(), before, 'nothing can change it any more')
  const waits = await create('b', merging('at once'))
  t.equal(waits.kind, 'created')
  t.match(await create('c', merging('at once', 0)), { kind: 'debounced', id: waits.id })
  t.ok((await start()).includes(waits.id), 'a waiting task is due now')
  t.same(await marksOf(waits.id), ['b', 'c'])
})

t.test('a create that waits for a start makes a new task, and a start does not wait for the create', async (t) => {
  const { id } = await create('a', merging('meets a start'))
  const client = await connect(t)
  await client.query('begin')
  await client.query(
    `update taskwire.tasks set status = 'PENDING', version = version + 1, run_at = null where id = '${id}'`,
  )
  const meets = create('b', merging('meets a start'))
  await untilBlocked(client)
  await client.query('commit')
  const next = await meets
  t.equal(next.kind, 'created')
  t.same([await marksOf(id), await marksOf(next.id)], [['a'], ['b']], 'neither payload is lost')
  t.equal((await create('c', merging('meets a start'))).id, next.id, 'the new task has the key')

  await client.query('begin')
  await client.query(`select from taskwire.debounces where key = 'meets a start' for update`)
  await run(
    `update taskwire.tasks set status = 'PENDING', version = version + 1, run_at = null where id = '${next.id}'`,
  )
  await client.query('rollback')
  const later = await create('d', merging('meets a start'))
  t.equal(later.kind, 'created', 'a row that a start has left over is taken')
  t.same(await marksOf(later.id), ['d'])
})

t.test('a start that meets a create that holds the task lets it go first', async (t) => {
  const { id } = await create('a', merging('held', 1))
  const client = await connect(t)
  await client.query('begin')
  await client.query(`select from taskwire.tasks where id = '${id}' for update`)
  const meets = create('b', merging('held', 1))
  await untilBlocked(client)
  t.same(await start(), [], 'it is due, and locked')
  await client.query('commit')
  t.equal((await meets).kind, 'debounced')
  while (!(await start()).includes(id));
  const [claimed] = await claimAttemptsIfDue(db, [{ taskId: id, attempt: 1 }], 'w', 60_000)
  t.match(claimed, { payload: { marks: { a: 1, b: 1 } } }, 'the run gets both')
})

t.test('creates during starts lose no payload: each is in exactly one task', async (t) => {
  const count = 150
  let isDone = false
  const starts = (async () => {
    while (!isDone) await start()
  })()
  const made: string[] = []
  const one = async (index: number) =>
    made.push((await create(`s${index}`, merging('storm', 1 + (index % 7)), index % 2 ? db : pool)).id)
  const lines = Array.from({ length: 6 }, async (_, line) => {
    for (let index = line; index < count; index += 6) await one(index)
  })
  await Promise.all(lines)
  isDone = true
  await starts
  const ids = [...new Set(made)]
  const found = (await Promise.all(ids.map(marksOf))).flat()
  t.equal(found.length, count)
  t.equal(new Set(found).size, count)
  t.ok(ids.length > 1, `${ids.length} tasks`)
})

t.test('a refused create changes nothing, and the key stays with its task', async (t) => {
  const { id } = await create('a', merging('refuses'))
  const { version, runAt } = await read(id)
  await t.rejects(create('b', { ...merging('refuses'), payload: { marks: { b: 'two' } } }), { code: 'invalid_payload' })
  await t.rejects(create('b', { ...merging('refuses'), payload: { note: 'x'.repeat(300_000) } }), {
    code: 'invalid_payload',
    errors: [{ pointer: '/payload', fix: /null/ }],
  })
  t.match(await read(id), { version, runAt })
  t.match(await create('c', merging('refuses')), { kind: 'debounced', id })
  const before = await countKeys()
  await t.rejects(create('b', { ...merging('refused first'), payload: {} }), { errors: [{ pointer: /^\/payload/ }] })
  t.equal(await countKeys(), before)
})
