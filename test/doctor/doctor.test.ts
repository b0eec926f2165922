/** The doctor: a healthy installation, one with every fault, and the fixes. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { migrateBroker } from '../../src/broker/open-broker.js'
import { examine } from '../../src/doctor/doctor.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { findLostAttempts } from '../../src/store/attempts/lease.js'
import { findFaults } from '../../src/store/deliveries/inspect.js'
import { takeDueDeliveries } from '../../src/store/deliveries/take-due.js'
import { readTasks } from '../../src/store/reads/tasks.js'
import { drainWorker, recordHeartbeat } from '../../src/store/workers.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { MAIN } from '../helpers/roles.js'
import { hasRedisServer, startPostgres, startRedis } from '../helpers/services.js'

const postgres = await startPostgres(t)
const redis = (await hasRedisServer()) ? await startRedis(t) : undefined

t.test('a database without tables is reported, and migrated with --fix', async (t) => {
  const databaseUrl = await postgres.createDatabase()
  await migrateBroker(databaseUrl)
  t.match(await examine({ databaseUrl, shouldFix: false }), [
    { state: 'bad', text: /lacks \d+ migrations: run "taskwire migrate"/ },
  ])
  t.match(await examine({ databaseUrl, shouldFix: true }), [{ state: 'fixed', text: /applied \d+ migrations/ }])
  t.same(
    (await examine({ databaseUrl, shouldFix: false })).filter(({ state }) => state !== 'ok'),
    [],
  )
})

t.test('stuck tasks are found and repaired', async (t) => {
  const databaseUrl = await postgres.createDatabase()
  const db = await openTestDatabase(t, databaseUrl)
  await migrateBroker(databaseUrl)
  const [waiting = '', running = '', ended = '', fine = ''] = await storeTasks(db, 4)
  await claimAttemptsIfDue(
    db,
    [running, ended].map((taskId) => ({ taskId, attempt: 1 })),
    'w',
    60_000,
  )
  const run = (text: string, id: string) => db.run({ name: `test_${text.length}`, text }, [id])
  await run('delete from taskwire.deliveries where task_id = $1::text::uuid', waiting)
  await run('delete from taskwire.leases where task_id = $1::text::uuid', running)
  await run("update taskwire.tasks set status = 'COMPLETED', version = version + 1 where id = $1::text::uuid", ended)
  await run(
    "insert into taskwire.deliveries (task_id, attempt, due_at) values ($1::text::uuid, 2, now() - interval '2 min')",
    ended,
  )
  t.same((await findFaults(db)).map(({ name, count }) => `${name} ${count}`).sort(), [
    'deliveriesOfOthers 1',
    'leasesOfOthers 1',
    'runningWithoutLease 1',
    'waitingWithoutDelivery 1',
  ])
  const found = await examine({ databaseUrl, shouldFix: false })
  t.equal(found.filter(({ state }) => state === 'bad').length, 5, 'the four tasks, and a delivery without a worker')
  await examine({ databaseUrl, shouldFix: true })
  t.same(await findFaults(db), [])
  t.same(
    (await findLostAttempts(db, 10)).map(({ taskId }) => taskId),
    [running],
  )
  t.same(
    (await takeDueDeliveries(db, 'default', 10, 1_000)).deliveries.map(({ taskId }) => taskId),
    [waiting],
  )
  t.match(await readTasks(DEFAULT_PRINCIPAL, db, [fine]), [{ status: 'PENDING' }])
})

t.test('workers are counted by state, and a queue with tasks that none of them serves is named', async (t) => {
  const databaseUrl = await postgres.createDatabase()
  const db = await openTestDatabase(t, databaseUrl)
  await migrateBroker(databaseUrl)
  const report = { host: 'a', pid: 1, version: '1.0.0', types: ['demo.sleep'], isStopping: false, isDraining: false }
  const serves = (name: string) => [{ name, slots: 4, running: 0 }]
  await recordHeartbeat(db, { ...report, id: 'takes', queues: serves('default') }, 60_000)
  await recordHeartbeat(db, { ...report, id: 'drains', queues: serves('reports'), isDraining: true }, 60_000)
  await drainWorker(db, 'drains', { by: 'me', reason: null })
  await recordHeartbeat(db, { ...report, id: 'stops', queues: serves('reports'), isStopping: true }, 60_000)
  await recordHeartbeat(db, { ...report, id: 'is lost', queues: serves('reports') }, -1)
  await storeTasks(db, 1)
  await storeTasks(db, 1, { queue: 'reports' })
  const findings = await examine({ databaseUrl, shouldFix: false })
  t.match(
    findings.filter(({ text }) => /worker takes|queue/.test(text)),
    [
      { state: 'ok', text: '1 worker takes tasks, 1 drained, 1 stopping, 1 lost' },
      { state: 'warn', text: /^tasks wait in the queue reports, and no worker takes tasks from it\. / },
    ],
  )
})

t.test('a superuser role is a warning, which does not fail the command', async (t) => {
  const asRole = await postgres.createDatabase()
  await openTestDatabase(t, asRole)
  await migrateBroker(asRole)
  const asSuperuser = new URL(postgres.adminUrl)
  asSuperuser.pathname = new URL(asRole).pathname
  const findings = await examine({ databaseUrl: asSuperuser.href, shouldFix: true })
  t.match(
    findings.filter(({ state }) => state !== 'ok'),
    [{ state: 'warn', text: /^the role of DATABASE_URL is a superuser, .* see docs\/operations\.md$/ }],
  )
  t.same(
    (await examine({ databaseUrl: asRole, shouldFix: false })).filter(({ state }) => state !== 'ok'),
    [],
  )
  const run = promisify(execFile)
  const { stdout } = await run(process.execPath, [MAIN, 'doctor'], {
    env: { ...process.env, DATABASE_URL: asSuperuser.href },
  })
  t.match(stdout, /^warn {4}the role/m)
})

t.test('each unreachable server is reported in one line, and the exit code is 1', async (t) => {
  const away = 'postgres://x:secret@127.0.0.1:1/x'
  const findings = await examine({ databaseUrl: away, redisUrl: 'redis://127.0.0.1:1', shouldFix: true })
  t.match(findings, [
    { state: 'bad', text: /cannot use PostgreSQL at 127.0.0.1:1/ },
    { state: 'bad', text: /cannot reach Redis at 127.0.0.1:1/ },
  ])
  t.notMatch(JSON.stringify(findings), 'secret')
  const run = promisify(execFile)
  const env = { ...process.env, DATABASE_URL: away, REDIS_URL: 'redis://127.0.0.1:1' }
  await t.rejects(run(process.execPath, [MAIN, 'doctor'], { env }), {
    code: 1,
    stdout: /^bad {5}cannot use PostgreSQL/,
  })
  await t.rejects(run(process.execPath, [MAIN, 'doctor', '--cure'], { env }), {
    code: 2,
    stderr: /doctor takes no --cure/,
  })
  await t.rejects(run(process.execPath, [MAIN, 'doctor', '--fix', '--cure=1', 'now'], { env }), {
    code: 2,
    stderr: /doctor takes no --cure now\n/,
  })
})

if (redis === undefined) t.comment('no redis-server on this machine: the test of the Redis settings is skipped')
else {
  t.test('a Redis that may lose jobs is reported, and fixed with --fix', async (t) => {
    const databaseUrl = await postgres.createDatabase()
    await openTestDatabase(t, databaseUrl)
    const client = new Redis(redis.url)
    t.teardown(() => client.disconnect())
    await client.config('SET', 'maxmemory-policy', 'allkeys-lru')
    await client.config('SET', 'appendonly', 'no')
    const options = { databaseUrl, redisUrl: redis.url }
    const bad = (await examine({ ...options, shouldFix: false })).filter(({ state }) => state === 'bad')
    t.match(bad, [{ text: /allkeys-lru\): set maxmemory-policy noeviction/ }, { text: /set appendonly yes/ }])
    t.equal((await examine({ ...options, shouldFix: true })).filter(({ state }) => state === 'fixed').length, 2)
    t.same(
      (await examine({ ...options, shouldFix: false })).filter(({ state }) => state !== 'ok'),
      [],
    )
  })
}
