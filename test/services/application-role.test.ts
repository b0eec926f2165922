/**
 * The application's role in the embedded PostgreSQL: the rights that it lacks, and how data of an earlier version gets
 * the role.
 */
import { chmod, chown, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { migrateBroker } from '../../src/broker/open-broker.js'
import { migrateDatabase } from '../../src/db/migrate.js'
import { findPostgresBinaries } from '../../src/services/embedded/postgres-binaries.js'
import { startPostgres } from '../../src/services/embedded/postgres.js'
import { runProgram } from '../../src/services/embedded/server-process.js'
import { findDefaultUser, makePrivateFolder } from '../../src/services/embedded/service-user.js'
import type { TestScope } from '../helpers/services.js'

const user = await findDefaultUser()
const QUICK = { fsync: 'off', shared_buffers: '16MB' }

async function startIn(t: TestScope, folder: string) {
  const server = await startPostgres({ folder, user, settings: QUICK })
  t.teardown(() => server.kill())
  return server
}

async function makeFolder(t: TestScope): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'taskwire-test-'))
  t.teardown(() => rm(parent, { recursive: true, force: true, maxRetries: 5 }))
  await chmod(parent, 0o755)
  const folder = join(parent, 'postgres')
  await makePrivateFolder(folder, user)
  return folder
}

function connect(t: TestScope, url: string) {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  return sql
}

/** Creates both schemas, as a start does. */
async function migrate(url: string): Promise<void> {
  await migrateDatabase(url)
  await migrateBroker(url)
}

async function assertNoSuperuser(t: Test, url: string): Promise<void> {
  const sql = connect(t, url)
  t.same(
    await sql`select rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls from pg_roles where rolname = current_user`,
    [{ rolsuper: false, rolcreaterole: false, rolcreatedb: false, rolreplication: false, rolbypassrls: false }],
  )
  const forbidden = [
    `copy (select 1) to program 'cat >/dev/null'`,
    `create temp table stolen (line text); copy stolen from '/etc/passwd'`,
    `select pg_read_file('/etc/passwd')`,
    `select pg_ls_dir('.')`,
    `select lo_import('/etc/passwd')`,
    'create role other superuser',
    'create database other',
    `alter system set archive_command = 'true'`,
    'select rolpassword from pg_authid',
    `create function run(text) returns int language c as 'libc', 'system'`,
    'alter role taskwire superuser',
    'set role taskwire_superuser',
    'set session_replication_role = replica',
  ]
  for (const text of forbidden) await t.rejects(sql.unsafe(text), /permission denied|must be|Only roles with/i, text)
}

/** Checks that no login works as the superuser or without a password. */
async function assertLocked(t: Test, folder: string, url: string): Promise<void> {
  const hba = await readFile(join(folder, 'data', 'pg_hba.conf'), 'utf8')
  const methods = hba
    .split('\n')
    .filter((line) => /^\s*\w/.test(line))
    .map((line) => line.trim().split(/\s+/).at(-1))
  t.same([...new Set(methods)], ['scram-sha-256'])
  const { password } = new URL(url)
  for (const login of [
    'taskwire_superuser',
    `taskwire_superuser:${password}`,
    'postgres',
    `postgres:${password}`,
    'taskwire',
    'taskwire:guess',
  ]) {
    const stranger = postgres(url.replace(/\/\/[^@]*@/, `//${login}@`), { max: 1, password: login.split(':')[1] ?? '' })
    await t.rejects(stranger`select 1`, { code: /28P01|28000|28P02/ }, login)
    await stranger.end()
  }
}

t.test('the application logs in with a role that is not a superuser, owns its database, and migrates it', async (t) => {
  const folder = await makeFolder(t)
  await rm(folder, { recursive: true })
  const { url } = await startIn(t, folder)
  await migrate(url)
  await assertNoSuperuser(t, url)
  await assertLocked(t, folder, url)
})

t.test('data of an earlier version is kept, with its password, and gets that role at the next start', async (t) => {
  const folder = await makeFolder(t)
  await makeEarlierCluster(folder)
  const password = await readFile(join(folder, 'password'), 'utf8')
  // The state that a server of that version leaves behind: both schemas, tasks, and objects that its users created.
  const old = await startEarlierServer(t, folder)
  await migrate(old.url)
  const before = connect(t, old.url)
  await before.unsafe(`
    insert into taskwire.migrations (hash, created_at) values ('kept', 1); delete from taskwire.migrations where hash = 'kept';
    create schema mine; create type mine.mood as enum ('good'); create domain mine.positive as int check (value > 0);
    create type mine.pair as (a int, b int); create table mine.notes (id serial primary key, mood mine.mood, amount mine.positive);
    create table public.parts (id int) partition by range (id); create table public.parts_one partition of public.parts for values from (0) to (10);
    create view mine.good as select * from mine.notes; create materialized view mine.kept as select 1 as one; create sequence mine.numbers;
    create function mine.twice(n int) returns int language sql as 'select n * 2';
    create procedure mine.nothing() language sql as ''; create aggregate mine.total(int) (sfunc = int4pl, stype = int);
    insert into mine.notes (mood, amount) values ('good', 1); select lo_from_bytea(0, 'kept')`)
  await before.unsafe('create database "an other"')
  await before.end()
  await old.kill()

  for (const when of ['at the first start', 'at the next']) {
    const server = await startIn(t, folder)
    t.equal(new URL(server.url).password, password.trim())
    const sql = connect(t, server.url)
    const foreign = await sql`
      select 'database ' || datname as object from pg_database where not datistemplate and datname <> 'postgres' and datdba <> 'taskwire'::regrole
      union all select 'schema ' || nspname from pg_namespace where nspname in ('mine', 'taskwire', 'taskwire_bullmq') and nspowner <> 'taskwire'::regrole
      union all select relkind::text || ' ' || oid::regclass::text from pg_class
        where relnamespace in ('mine'::regnamespace, 'public'::regnamespace, 'taskwire'::regnamespace, 'taskwire_bullmq'::regnamespace) and relowner <> 'taskwire'::regrole
      union all select 'routine ' || oid::regprocedure::text from pg_proc
        where pronamespace in ('mine'::regnamespace, 'taskwire'::regnamespace, 'taskwire_bullmq'::regnamespace) and proowner <> 'taskwire'::regrole
      union all select 'type ' || oid::regtype::text from pg_type
        where typnamespace in ('mine'::regnamespace, 'taskwire'::regnamespace) and typowner <> 'taskwire'::regrole
      union all select 'large object' from pg_largeobject_metadata where lomowner <> 'taskwire'::regrole`
    t.same(foreign, [], when)
    await migrate(server.url)
    t.same(await sql`select mood, mine.twice(amount) from mine.good`, [{ mood: 'good', twice: 2 }])
    await sql`drop table if exists mine.unwanted`
    await sql`insert into mine.notes (mood) values ('good')`
    await sql`delete from mine.notes where id > 1`
    const other = postgres(server.url, { max: 1, database: 'an other', onnotice: () => {} })
    await other`create table if not exists here (id int)`
    await other.end()
    await assertNoSuperuser(t, server.url)
    await assertLocked(t, folder, server.url)
    await sql.end()
    await server.stop()
  }
})

/** Creates a cluster as the previous version did: with one role, which is the superuser. */
async function makeEarlierCluster(folder: string): Promise<void> {
  const binaries = await findPostgresBinaries(user)
  const passwordFile = join(folder, 'password')
  await writeFile(passwordFile, 'of-the-old-days\n', { mode: 0o600 })
  if (user !== undefined) await chown(passwordFile, user.uid, user.gid)
  const data = join(folder, 'data')
  const flags = [
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--no-locale',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--no-instructions',
    '--no-sync',
  ]
  await runProgram(binaries.initdb, [`--pgdata=${data}`, '--username=taskwire', `--pwfile=${passwordFile}`, ...flags], {
    folder,
    user,
  })
  await runProgram(binaries.postgres, ['--single', '-D', data, 'postgres'], {
    folder,
    user,
    input: 'create database taskwire;\n',
  })
}

/** Starts today's server on that data, without the migration to the new role. */
async function startEarlierServer(t: TestScope, folder: string) {
  const mark = join(folder, 'data', 'taskwire.role')
  await writeFile(mark, '')
  const server = await startIn(t, folder)
  await rm(mark)
  return server
}
