/** Tasks created in an application's own transaction. */
import pg from 'pg'
import t from 'tap'
import { DEFAULT_PRINCIPAL, serviceOf } from '../../../src/access/principal.js'
import { takeDueDeliveries } from '../../../src/store/deliveries/take-due.js'
import { readTasks, readTransitions } from '../../../src/store/reads/tasks.js'
import { listHaltedSequences } from '../../../src/store/release/sequences.js'
import { recordHeartbeat } from '../../../src/store/workers.js'
import { createTaskQuery } from '../../../src/tasks/create/create-query.js'
import { openTestDatabase } from '../../helpers/database.js'
import { toReleaseStore } from '../../helpers/release-store.js'
import { startPostgres } from '../../helpers/services.js'

const server = await startPostgres(t)
const db = await openTestDatabase(t, server.url)
const client = new pg.Client({ connectionString: server.url })
await client.connect()
t.teardown(() => client.end())
await client.query('create table orders (id integer)')

async function create(task: Parameters<typeof createTaskQuery>[0]): Promise<string> {
  const { rows } = await client.query<{ id: string }>(createTaskQuery(task))
  return rows[0]?.id ?? ''
}

t.test('the task becomes visible with the commit, whole, and is delivered', async (t) => {
  await client.query('begin')
  await client.query('insert into orders values (1)')
  const id = await create({
    type: 'report.generate',
    title: 'Ünï',
    payload: { a: '"x"' },
    priority: 7,
    tags: ['a b', '{}'],
  })
  t.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  t.same(await readTasks(DEFAULT_PRINCIPAL, db, [id]), [], 'not before')
  await client.query('commit')
  const [task] = await readTasks(DEFAULT_PRINCIPAL, db, [id])
  t.match(task, {
    type: 'report.generate',
    title: 'Ünï',
    payload: { a: '"x"' },
    priority: 7,
    tags: ['a b', '{}'],
    status: 'PENDING',
    version: 1,
  })
  t.match(await readTransitions(DEFAULT_PRINCIPAL, db, id), [{ version: 1, from: null, status: 'PENDING', attempt: 0 }])
  t.match((await takeDueDeliveries(db, 'default', 10, 1_000)).deliveries, [{ taskId: id, attempt: 1, priority: 7 }])
})

t.test('a rollback leaves no task', async (t) => {
  await client.query('begin')
  const id = await create({ type: 'demo.sleep' })
  await client.query('rollback')
  t.same(await readTasks(DEFAULT_PRINCIPAL, db, [id]), [])
  t.same((await takeDueDeliveries(db, 'default', 10, 1_000)).deliveries, [])
})

t.test('a later start is SCHEDULED; ids are in the order of time', async (t) => {
  const runAt = new Date(Date.now() + 3_600_000)
  const ids = [await create({ type: 'demo.sleep', runAt })]
  for (let index = 0; index < 5; index += 1) {
    await new Promise((resolve) => setTimeout(resolve, 2))
    ids.push(await create({ type: 'demo.sleep', tenant: 'other' }))
  }
  t.same(ids, [...ids].sort())
  t.match(await readTasks(DEFAULT_PRINCIPAL, db, ids), [
    { id: ids[0], status: 'SCHEDULED', runAt: runAt.toISOString() },
  ])
  t.equal((await readTasks(serviceOf('other', 'test'), db, ids)).length, 5)
})

t.test('invalid arguments are refused by name, with a hint', async (t) => {
  const refusals: [Parameters<typeof createTaskQuery>[0], RegExp][] = [
    [{ type: 'No Such!' }, /type 'No Such!' is malformed/],
    [{ type: 'demo.sleep', title: 'x'.repeat(201) }, /title has 201 characters/],
    [{ type: 'demo.sleep', title: '' }, /title has 0 characters/],
    [{ type: 'demo.sleep', priority: 10 }, /priority is 10/],
    [{ type: 'demo.sleep', tags: [''] }, /tags do not fit/],
  ]
  for (const [task, message] of refusals) await t.rejects(create(task), { message, hint: /./ })
})

t.test('a number that JavaScript would change is refused in SQL as over REST, and every other is kept', async (t) => {
  const insert = (payload: string) =>
    client.query("select taskwire.create_task('demo.sleep', $1::jsonb) as id", [payload])
  for (const number of ['1970670598291982290', '-9007199254740993', '1e400', '1e-400', '3.14159265358979323846']) {
    await t.rejects(insert(`{"a":[{"b":${number}}]}`), { message: /number .* cannot be kept/, hint: /text/ }, number)
  }
  const kept =
    '{"numbers":[0,-1.50,0.1,9007199254740992,1e3,5e-324,1.7976931348623157e308,0.30000000000000004],"text":"1970670598291982290"}'
  const { rows } = await insert(kept)
  const [task] = await readTasks(DEFAULT_PRINCIPAL, db, [(rows[0] as { id: string }).id])
  t.same(task?.payload, JSON.parse(kept))
})

t.test(
  'a start that REST could not show is refused in SQL as over REST, and those at both ends are kept',
  async (t) => {
    const insert = (runAt: string) =>
      client.query<{ id: string }>("select taskwire.create_task('demo.sleep', run_at => $1::timestamptz) as id", [
        runAt,
      ])
    const beyond = [
      'infinity',
      '-infinity',
      '294000-01-01',
      '12000-06-01 00:00:00+00',
      '10000-01-01 00:00:00+00',
      '9999-12-31 23:59:59.9996+00',
      '9999-12-31 23:00:00-02',
      '0044-03-15 BC',
      '0001-01-01 00:00:00+01',
    ]
    for (const runAt of beyond)
      await t.rejects(
        insert(runAt),
        { message: /^taskwire\.create_task: run_at is /, hint: /^Give a time in the years 0001 to 9999/ },
        runAt,
      )
    const [first, last] = [await insert('0001-01-01 00:00:00+00'), await insert('9999-12-31 23:59:59.999+00')]
    const [past, future] = await Promise.all(
      [first, last].map(async ({ rows }) => (await readTasks(DEFAULT_PRINCIPAL, db, [rows[0]?.id ?? '']))[0]),
    )
    t.match(past, { status: 'PENDING', runAt: null })
    t.match(future, { status: 'SCHEDULED', runAt: '9999-12-31T23:59:59.999Z' })
  },
)

t.test('tasks with keys and a cost are held as those of other creates are', async (t) => {
  const queue = 'default'
  const type = 'demo.sleep'
  const keys = { concurrencyKey: 'k', sequenceKey: 's' }
  await client.query('begin')
  const ids = [
    await create({ type, ...keys, onFailure: 'skip', cost: 7 }),
    await create({ type, ...keys }),
    await create({ type, concurrencyKey: 'other' }),
  ]
  await client.query('commit')
  const [first, second, third] = await Promise.all(
    ids.map(async (id) => (await readTasks(DEFAULT_PRINCIPAL, db, [id]))[0]),
  )
  t.match(first, { ...keys, onFailure: 'skip', cost: 7 })
  t.match(second, { ...keys, onFailure: 'halt', cost: 1 })
  t.match(third, { concurrencyKey: 'other', sequenceKey: null, onFailure: null, cost: 1 })

  await client.query(`insert into taskwire.limits (name, per, concurrency, set_by) values ('one', 'key', 1, 'test')`)
  const store = toReleaseStore(db)
  const worker = { id: 'w', host: 'h', pid: 1, version: '0', types: [type], isStopping: false, isDraining: false }
  await recordHeartbeat(db, { ...worker, queues: [{ name: queue, slots: 10, running: 0 }] }, 600_000)
  const due = await takeDueDeliveries(db, queue, 100, 1_000)
  t.notOk(
    due.deliveries.some(({ taskId }) => ids.includes(taskId)),
    'none of them takes the short way',
  )
  const release = async () => (await store.release()).map((id) => ids.indexOf(id)).sort()
  t.same(await release(), [0, 2])
  await store.claim(ids[0] ?? '')
  await store.end(ids[0] ?? '', { outcome: 'failed', status: 'FAILED' })
  t.same(await release(), [1], 'it does not halt its sequence')
  await store.claim(ids[1] ?? '')
  await store.end(ids[1] ?? '', { outcome: 'failed', status: 'FAILED' })
  t.match(await listHaltedSequences(DEFAULT_PRINCIPAL, db), [{ key: 's', haltedBy: ids[1] }], 'by default it does')
})

t.test('arguments that no task can have are refused by name, and each hint names the alternatives', async (t) => {
  const refusals: [string, RegExp, RegExp][] = [
    [`tags => array[['a', 'b']]`, /the tags do not fit/, /one list of at most 20 tags/],
    [`tags => array[['a'], ['b']]`, /the tags do not fit/, /one list/],
    [`tags => null`, /the tags do not fit/, /one list/],
    [`tags => array['a', null]`, /the tags do not fit/, /one list/],
    [`payload => null`, /payload is null/, /'null'::jsonb/],
    [`priority => null`, /priority is null/, /0 \(last\) to 9/],
    [`tenant => null`, /tenant is null/, /Leave the tenant out/],
    [`concurrency_key => ''`, /concurrency_key '' is malformed/, /1 to 200 characters/],
    [`concurrency_key => repeat('k', 201)`, /concurrency_key 'k{50}' is malformed/, /null for none/],
    [`sequence_key => '..'`, /sequence_key '\.\.' is malformed/, /neither "\." nor/],
    [`sequence_key => 's', on_failure => 'stop'`, /on_failure is 'stop'/, /halt or skip/],
    [`on_failure => 'skip'`, /on_failure is 'skip'/, /together with a sequence_key/],
    [`cost => 0`, /cost is 0/, /1 to 1000/],
    [`cost => 1001`, /cost is 1001/, /1 to 1000/],
  ]
  for (const [argument, message, hint] of refusals)
    await t.rejects(client.query(`select taskwire.create_task('demo.sleep', ${argument})`), { message, hint }, argument)
  const { rows } = await client.query<{ names: string[] }>(
    "select proargnames as names from pg_proc where oid = 'taskwire.create_task'::regproc",
  )
  const error = await client
    .query("select taskwire.create_task('webhook.deliver')")
    .catch((thrown: { message: string; hint: string }) => thrown)
  t.match(error, {
    message: /only the server makes tasks of type 'webhook\.deliver'/,
    hint: /POST \/api\/tasks and its callbackUrl/,
  })
  t.notOk(
    rows[0]?.names.some((name) => name.includes('callback')),
    'the function has no such argument',
  )
})

t.test('the settings of the session that creates a task change nothing', async (t) => {
  await client.query('begin')
  for (const setting of [
    'extra_float_digits = 0',
    'standard_conforming_strings = off',
    "datestyle = 'SQL, DMY'",
    'array_nulls = off',
  ])
    await client.query(`set local ${setting}`)
  const { rows } = await client.query<{ id: string }>(
    `select taskwire.create_task('demo.sleep', '{"number":0.30000000000000004}') as id`,
  )
  await t.rejects(client.query("savepoint a; select taskwire.create_task('demoxsleep.')"), {
    message: /type 'demoxsleep\.' is malformed/,
  })
  await client.query('rollback to savepoint a')
  await client.query('commit')
  const [task] = await readTasks(DEFAULT_PRINCIPAL, db, [rows[0]?.id ?? ''])
  t.same(task?.payload, { number: 0.30000000000000004 })
})
