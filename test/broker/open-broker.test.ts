/** Starts that are refused or log a warning, each on the broker concerned. */
import { Redis } from 'ioredis'
import postgres from 'postgres'
import t from 'tap'
import { migrateBroker, openBroker } from '../../src/broker/open-broker.js'
import { isTooOld } from '../../src/broker/redis-connection.js'
import { startPostgres, startRedis } from '../helpers/services.js'
import { aDelivery, canTestRedis, createLog, createMailbox, NOWHERE } from './brokers.js'

t.test('on PostgreSQL', async (t) => {
  const server = await startPostgres(t)

  await t.test('a database without the schema is refused with the command to run', async (t) => {
    const databaseUrl = await server.createDatabase()
    const { port } = server
    await t.rejects(openBroker({ databaseUrl, log: createLog() }), {
      message: new RegExp(`^cannot use the job queue in PostgreSQL at 127.0.0.1:${port}/test_.*taskwire migrate`),
    })
  })

  await t.test('several processes may prepare the schema at once, and repeatedly', async (t) => {
    const databaseUrl = await server.createDatabase()
    await Promise.all(Array.from({ length: 4 }, () => migrateBroker(databaseUrl)))
    await migrateBroker(databaseUrl)
    const broker = await openBroker({ databaseUrl, log: createLog() })
    t.teardown(() => broker.close())
    const runs = createMailbox<unknown>()
    await broker.queue.consume(async (delivery) => runs.push(delivery), { queue: 'default', concurrency: 1 })
    await broker.queue.add([aDelivery()])
    await runs.untilCount(1)
    const sql = postgres(databaseUrl, { max: 1 })
    t.teardown(() => sql.end())
    const schemas = await sql`
      select distinct table_schema as name from information_schema.tables where table_name = 'job'`
    t.strictSame(
      [...schemas].map((row) => row['name']),
      ['taskwire_bullmq'],
    )
  })

  await t.test('a database that permits no new schema is reported in one line', async (t) => {
    const url = new URL(await server.createDatabase())
    const sql = postgres(server.adminUrl, { max: 1 })
    t.teardown(() => sql.end())
    await sql.unsafe("create role guest login password 'secret'")
    url.username = 'guest'
    url.password = 'secret'
    await t.rejects(migrateBroker(url.href), {
      name: 'StartupError',
      message: /^cannot prepare the schema taskwire_bullmq in PostgreSQL at .*: permission denied for database/,
    })
  })

  await t.test('settings in the URL do not override the schema', async (t) => {
    const databaseUrl = await server.createDatabase()
    await migrateBroker(databaseUrl)
    const options = encodeURIComponent('-c work_mem=1234kB')
    const broker = await openBroker({ databaseUrl: `${databaseUrl}?options=${options}`, log: createLog() })
    t.teardown(() => broker.close())
    await broker.queue.add([aDelivery()])
    t.equal(await broker.queue.countWaiting('default'), 1)
  })

  await t.test('the error of a refused login names the user, not the password', async (t) => {
    const url = new URL(server.url)
    url.password = 'wrong-secret'
    const opening = openBroker({ databaseUrl: url.href, log: createLog() })
    await t.rejects(opening, { message: /^cannot reach PostgreSQL at .*password authentication failed/ })
    await opening.catch((error: unknown) => t.notMatch(String(error), 'wrong-secret'))
  })
})

t.test('on Redis', async (t) => {
  if (!(await canTestRedis(t))) return
  const server = await startRedis(t)
  const options = { databaseUrl: NOWHERE.postgres }

  await t.test('a refused login is reported without the password', async (t) => {
    const url = new URL(server.url)
    url.password = 'wrong-secret'
    const opening = openBroker({ ...options, redisUrl: url.href, log: createLog() })
    await t.rejects(opening, { message: new RegExp(`^cannot reach Redis at 127.0.0.1:${server.port}: WRONGPASS`) })
    await opening.catch((error: unknown) => t.notMatch(String(error), 'wrong-secret'))
  })

  await t.test('a database number that does not exist is refused rather than replaced by another', async (t) => {
    const opening = openBroker({ ...options, redisUrl: `${server.url}/99`, log: createLog() })
    await t.rejects(opening, { message: /^cannot reach Redis at .*: ERR DB index is out of range$/ })
    const other = await openBroker({ ...options, redisUrl: `${server.url}/3`, log: createLog() })
    await other.close()
  })

  await t.test('a Redis that may evict jobs causes a warning', async (t) => {
    const admin = new Redis(server.url)
    t.teardown(() => admin.disconnect())
    const log = createLog()
    await (await openBroker({ ...options, redisUrl: server.url, log })).close()
    t.strictSame(log.lines, [], 'not by default')
    await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
    await (await openBroker({ ...options, redisUrl: server.url, log })).close()
    t.match(log.lines, [{ message: /set maxmemory-policy to noeviction/, details: { policy: 'allkeys-lru' } }])
  })

  await t.test('a frozen Redis is refused within a few seconds', async (t) => {
    await server.pause()
    t.teardown(() => server.resume())
    const opening = openBroker({ ...options, redisUrl: server.url, log: createLog() })
    await t.rejects(opening, { message: /no answer within 3 s$/ })
  })
})

t.test('versions below 6.2 are too old', async (t) => {
  t.strictSame(['5.0.14', '6.0.16', '0'].map(isTooOld), [true, true, true])
  t.strictSame(['6.2.0', '6.2', '7.0.15', '10.1.0'].map(isTooOld), [false, false, false, false])
})
