import { once } from 'node:events'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { assertVersion, countMissingMigrations, migrateDatabase } from '../../src/db/migrate.js'
import { openDatabase } from '../../src/db/open.js'
import { StartupError } from '../../src/startup-error.js'
import { listTasks } from '../../src/store/reads/list.js'
import { storeTasks } from '../helpers/database.js'
import { startPostgres, type TestScope } from '../helpers/services.js'

const MIGRATIONS = fileURLToPath(new URL('../../drizzle', import.meta.url))

/** Migrates a database up to the migration before the named one. */
async function migrateUpTo(t: TestScope, url: string, name: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'taskwire-test-'))
  t.teardown(() => rm(folder, { recursive: true }))
  await cp(MIGRATIONS, folder, { recursive: true })
  const path = join(folder, 'meta', '_journal.json')
  const journal = JSON.parse(await readFile(path, 'utf8')) as { entries: { tag: string }[] }
  const end = journal.entries.findIndex(({ tag }) => tag.endsWith(name))
  await writeFile(path, JSON.stringify({ ...journal, entries: journal.entries.slice(0, end) }))
  const client = postgres(url, { max: 1, onnotice: () => {} })
  await migrate(drizzle(client), {
    migrationsFolder: folder,
    migrationsSchema: 'taskwire',
    migrationsTable: 'migrations',
  })
  await client.end()
}

t.test('a server that is too old is reported in one line', async (t) => {
  t.throws(
    () => assertVersion(13_0018),
    new StartupError('PostgreSQL 13 is too old: upgrade to 14 or newer, or point DATABASE_URL at such a server.'),
  )
  t.doesNotThrow(() => assertVersion(14_0000))
  t.doesNotThrow(() => assertVersion(18_0001))
})

t.test('processes that migrate at once apply each migration once, and keep other data in the database', async (t) => {
  const server = await startPostgres(t, { isEmpty: true })
  const sql = postgres(server.url, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  await sql`create table tasks (mine text)`
  await Promise.all(Array.from({ length: 5 }, () => migrateDatabase(server.url)))
  const [row] =
    await sql`select (select count(*)::integer from taskwire.migrations) as done, (select count(*)::integer from taskwire.tasks) as tasks`
  const migrations = (await readdir('drizzle')).filter((name) => name.endsWith('.sql'))
  t.same(row, { done: migrations.length, tasks: 0 })
  t.same(await sql`select * from tasks`, [])
})

t.test('the indexes of lists are built while other processes write, and include older rows', async (t) => {
  const server = await startPostgres(t, { isEmpty: true })
  await migrateUpTo(t, server.url, '_list_indexes')
  const db = openDatabase(server.url)
  t.teardown(() => db.close())
  const sql = postgres(server.url, { max: 2, onnotice: () => {}, connection: { lock_timeout: 3_000 } })
  t.teardown(() => sql.end())
  const before = await storeTasks(db, 3, { tags: ['old', 'old', 'other'], type: 'report.generate' })
  // A transaction that has written and stays open. An index build that locks the table would wait for it, and writers
  // would wait for that build.
  const writer = await sql.reserve()
  await writer`begin`
  await writer`update taskwire.tasks set priority = 1`
  const migrated = Promise.all([migrateDatabase(server.url), migrateDatabase(server.url)])
  migrated.catch(() => {})
  while ((await sql`select from pg_stat_progress_create_index where command like '%CONCURRENTLY'`).length === 0);
  await sql`insert into taskwire.tasks (id, type, title, status, payload, tags) values (gen_random_uuid(), 'demo.sleep', 'meanwhile', 'PENDING', '{}', '{new}')`
  await writer`commit`
  writer.release()
  await migrated
  t.equal(await countMissingMigrations(server.url), 0)
  t.same(await sql`select from pg_index where not indisvalid`, [])
  const list = async (filter: object) =>
    (await listTasks(DEFAULT_PRINCIPAL, db, { ...filter, limit: 10 })).map(({ id, title }) =>
      title === 'meanwhile' ? title : id,
    )
  t.same(await list({ tag: 'old' }), before.toReversed())
  t.same(await list({ tag: 'old', type: 'report.generate' }), before.toReversed())
  t.same(await list({ tag: 'new' }), ['meanwhile'])
})

t.test('an index that was left unfinished is rebuilt', async (t) => {
  const server = await startPostgres(t, { isEmpty: true })
  await migrateUpTo(t, server.url, '_list_indexes')
  const sql = postgres(server.url, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  await sql`create index tasks_type_idx on taskwire.tasks (title)`
  const admin = postgres(server.adminUrl, { max: 1, onnotice: () => {} })
  t.teardown(() => admin.end())
  await admin`update pg_index set indisvalid = false where indexrelid = 'taskwire.tasks_type_idx'::regclass`
  await migrateDatabase(server.url)
  const [row] =
    await sql`select indisvalid, indnatts::integer as columns from pg_index where indexrelid = 'taskwire.tasks_type_idx'::regclass`
  t.same(row, { indisvalid: true, columns: 2 })
})

t.test('a database of a newer version is refused and not changed', async (t) => {
  const server = await startPostgres(t, { isEmpty: true })
  await migrateDatabase(server.url)
  const sql = postgres(server.url, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  await sql`insert into taskwire.migrations (hash, created_at) values ('of tomorrow', 99999999999999)`
  await t.rejects(migrateDatabase(server.url), {
    name: 'StartupError',
    message: /^the database was migrated by a newer Taskwire: it has 1 migrations .*Update Taskwire/,
  })
  t.equal(await countMissingMigrations(server.url), -1)
})

t.test('a database that cannot be prepared is reported in one line with the reason given by the server', async (t) => {
  const server = await startPostgres(t, { isEmpty: true })
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
    [
      guests.href,
      /^cannot prepare the database at 127\.0\.0\.1:\d+\/taskwire: permission denied for database taskwire\. Point DATABASE_URL at /,
    ],
    [
      `${server.url}?options=${encodeURIComponent('-c default_transaction_read_only=on')}`,
      / cannot be used as it is: default_transaction_read_only is on/,
    ],
    // This timeout also ends the statements that the client itself sends.
    [
      `${server.url}?options=${encodeURIComponent('-c statement_timeout=1')}`,
      /: canceling statement due to statement timeout\. /,
    ],
    [server.url.replace(/[^/]*$/, foreign.options.database), /: relation "tasks" already exists\. /],
  ]
  for (const [url, message] of cases) {
    await t.rejects(migrateDatabase(url), { name: /^(StartupError|UnfitDatabaseError)$/, message })
    await migrateDatabase(url).catch((error: unknown) => t.notMatch(String(error), /secret|\n/))
  }
})

t.test('a migration that waits too long for another names it, and leaves no lock behind', async (t) => {
  const server = await startPostgres(t, { isEmpty: true })
  // Takes the lock as an earlier version did: for the whole session, which a pooler may keep open forever.
  const holder = postgres(server.url, { max: 1, connection: { application_name: 'stuck migration' } })
  t.teardown(() => holder.end())
  const [session] = await holder`select pg_backend_pid() as pid, pg_advisory_lock(${0x7461736b})`
  const message = new RegExp(
    `^another process has been migrating this database for 0\\.2 s: PostgreSQL's process ${session?.['pid']} \\(stuck migration, from 127\\.0\\.0\\.1, since .*\\)\\. Wait for it\\. If it is stuck, end it: select pg_terminate_backend\\(${session?.['pid']}\\)\\.$`,
  )
  await t.rejects(migrateDatabase(server.url, { lockWaitMs: 200 }), { name: 'StartupError', message })
  await holder`select pg_advisory_unlock_all()`
  await migrateDatabase(server.url, { lockWaitMs: 60_000 })
  t.same([...(await holder`select * from pg_locks where locktype = 'advisory'`)], [])
})

t.test('a server that is not PostgreSQL is refused within seconds', async (t) => {
  // It answers at once, so the client considers the connection established, but never sends what PostgreSQL would.
  const server = createServer((socket) =>
    socket.on('error', () => {}).write('HTTP/1.1 400 Bad Request\r\n\r\n'),
  ).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  await t.rejects(migrateDatabase(`postgres://me:secret@127.0.0.1:${port}/x`), {
    name: 'StartupError',
    message: new RegExp(`^cannot use PostgreSQL at 127\\.0\\.0\\.1:${port}/x: .*Check DATABASE_URL`),
  })
})
