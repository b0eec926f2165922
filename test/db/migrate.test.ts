import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import t from 'tap'
import postgres from 'postgres'
import { StartupError } from '../../src/startup-error.js'
import { assertVersion, countMissingMigrations, migrateDatabase } from '../../src/db/migrate.js'
import { startPostgres } from '../helpers/services.js'

t.test('a server that is too old is one clear line', async (t) => {
  t.throws(() => assertVersion(13_0018), new StartupError('PostgreSQL 13 is too old: Taskwire needs 14 or newer. Point DATABASE_URL at one.'))
  t.doesNotThrow(() => assertVersion(14_0000))
  t.doesNotThrow(() => assertVersion(18_0001))
})

t.test('processes that migrate at once do it once, and beside what else is in the database', async (t) => {
  const server = await startPostgres(t)
  const sql = postgres(server.url, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  await sql`create table tasks (mine text)`
  await Promise.all(Array.from({ length: 5 }, () => migrateDatabase(server.url)))
  const [row] = await sql`select (select count(*)::integer from taskwire.migrations) as done, (select count(*)::integer from taskwire.tasks) as tasks`
  const migrations = (await readdir('drizzle')).filter((name) => name.endsWith('.sql'))
  t.same(row, { done: migrations.length, tasks: 0 })
  t.same(await sql`select * from tasks`, [])
})

t.test('a database of a newer version is refused, and left as it is', async (t) => {
  const server = await startPostgres(t)
  await migrateDatabase(server.url)
  const sql = postgres(server.url, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  await sql`insert into taskwire.migrations (hash, created_at) values ('of tomorrow', 99999999999999)`
  await t.rejects(migrateDatabase(server.url), {
    name: 'StartupError',
    message: /^the database was made by a newer Taskwire: it has 1 migrations .*Update Taskwire/,
  })
  t.equal(await countMissingMigrations(server.url), -1)
})

t.test('a database that cannot be prepared is one clear line with the reason of the server', async (t) => {
  const server = await startPostgres(t)
  const sql = postgres(server.adminUrl, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  await sql.unsafe("create role guest login password 'secret'")
  const foreign = postgres(await server.createDatabase(), { max: 1, onnotice: () => {} })
  await foreign.unsafe('create schema taskwire create table tasks (mine text)')
  await foreign.end()
  const guests = new URL(server.url)
  guests.username = 'guest'
  guests.password = 'secret'
  const cases: [string, RegExp][] = [
    [guests.href, /^cannot prepare the database at 127\.0\.0\.1:\d+\/taskwire: permission denied for database taskwire\. Point DATABASE_URL at /],
    [`${server.url}?options=${encodeURIComponent('-c default_transaction_read_only=on')}`, /: cannot execute CREATE SCHEMA in a read-only transaction\. /],
    [server.url.replace(/[^/]*$/, foreign.options.database), /: relation "tasks" already exists\. /],
  ]
  for (const [url, message] of cases) {
    await t.rejects(migrateDatabase(url), { name: 'StartupError', message })
    await migrateDatabase(url).catch((error: unknown) => t.notMatch(String(error), /secret|\n/))
  }
})

t.test('a migration that waits for another names it in time, and leaves no lock behind', async (t) => {
  const server = await startPostgres(t)
  // As a version before took it: for its session, which a pooler may keep for ever.
  const holder = postgres(server.url, { max: 1, connection: { application_name: 'stuck migration' } })
  t.teardown(() => holder.end())
  const [session] = await holder`select pg_backend_pid() as pid, pg_advisory_lock(${0x7461736b})`
  const message = new RegExp(
    `^another process has been migrating this database for 0\\.2 s: PostgreSQL's process ${session?.['pid']} \\(stuck migration, from 127\\.0\\.0\\.1, since .*\\)\\. Wait for it, or end it when it is stuck: select pg_terminate_backend\\(${session?.['pid']}\\)\\.$`,
  )
  await t.rejects(migrateDatabase(server.url, { lockWaitMs: 200 }), { name: 'StartupError', message })
  await holder`select pg_advisory_unlock_all()`
  await migrateDatabase(server.url, { lockWaitMs: 60_000 })
  t.same([...(await holder`select * from pg_locks where locktype = 'advisory'`)], [])
})

t.test('a server that is not PostgreSQL is refused within seconds', async (t) => {
  // It answers at once, so that the client thinks the connection made, and never says what PostgreSQL would.
  const server = createServer((socket) => socket.on('error', () => {}).write('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  await t.rejects(migrateDatabase(`postgres://me:secret@127.0.0.1:${port}/x`), {
    name: 'StartupError',
    message: new RegExp(`^cannot use PostgreSQL at 127\\.0\\.0\\.1:${port}/x: .*Check DATABASE_URL`),
  })
})
