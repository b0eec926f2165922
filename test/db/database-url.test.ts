/**
 * DATABASE_URL as hosting providers print it: read once, treated the same by both drivers, and unable to override our
 * own settings.
 */
import { execFile } from 'node:child_process'
import { chmodSync, chownSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { connectPostgres } from '../../src/broker/postgres-connection.js'
import {
  describeDatabase,
  describeIgnored,
  isDatabaseUrl,
  readDatabaseUrl,
  toPgConfig,
} from '../../src/db/database-url.js'
import { STATEMENT_SETTINGS } from '../../src/db/database.js'
import { migrateDatabase } from '../../src/db/migrate.js'
import { openDatabase } from '../../src/db/open.js'
import { initPostgres, startPostgres } from '../../src/services/embedded/postgres.js'
import { findDefaultUser } from '../../src/services/embedded/service-user.js'

const run = promisify(execFile)
const user = await findDefaultUser()
const folder = await mkdtemp(join(tmpdir(), 'taskwire-url-'))
t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
chmodSync(folder, 0o755)
const data = join(folder, 'postgres')
await initPostgres(data, { user, initdbFlags: ['--no-sync'] })
const certificate = { key: join(data, 'server.key'), cert: join(data, 'server.crt'), other: join(data, 'other.crt') }
for (const [key, cert] of [
  [certificate.key, certificate.cert],
  [join(data, 'other.key'), certificate.other],
] as const) {
  await run('openssl', [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=localhost',
    '-addext',
    'subjectAltName=DNS:localhost',
    '-keyout',
    key,
    '-out',
    cert,
  ])
  chmodSync(key, 0o600)
  if (user !== undefined) chownSync(key, user.uid, user.gid)
}
const settings = {
  fsync: 'off',
  ssl: 'on',
  ssl_cert_file: certificate.cert,
  ssl_key_file: certificate.key,
  unix_socket_directories: folder,
}
chmodSync(folder, 0o777)
const server = await startPostgres({ folder: data, user, settings })
t.teardown(() => server.kill())
await migrateDatabase(server.url)

const READ = `select current_user as role, current_database() as database, current_setting('application_name') as name,
  current_setting('enable_seqscan') || ' ' || current_setting('jit') as settings, current_setting('work_mem') as memory,
  coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as encrypted`

/** The settings that each client sees, by the name of the client; or the error. */
async function readEveryWay(url: string) {
  const ways: Record<string, () => Promise<unknown>> = {
    async 'postgres.js, as worker and relay'() {
      const db = openDatabase(url, { maxConnections: 1, applicationName: 'taskwire test' })
      return db
        .run({ name: 'read', text: READ }, [])
        .then(([row]) => row)
        .finally(() => db.close())
    },
    async 'node-postgres, as web'() {
      const pool = new pg.Pool({
        ...toPgConfig(url, { applicationName: 'taskwire test', options: STATEMENT_SETTINGS, connectTimeoutSeconds: 5 }),
        max: 1,
      })
      return pool
        .query(READ)
        .then(({ rows }) => rows[0])
        .finally(() => pool.end())
    },
    async 'node-postgres, as the broker'() {
      const client = await connectPostgres(url, {}, 'taskwire test')
      // This client has no settings of its own.
      return client
        .query(READ)
        .then(({ rows }) => ({ ...rows[0], settings: 'off off' }))
        .finally(() => client.end())
    },
  }
  const seen = Object.entries(ways).map(
    async ([way, read]) =>
      [
        way,
        await read().then(
          (row) => ({ ...(row as object) }),
          (error: Error) => error.message,
        ),
      ] as const,
  )
  return Object.fromEntries(await Promise.all(seen))
}

async function assertAlike(t: Test, url: string, expected: object | RegExp): Promise<void> {
  for (const [way, seen] of Object.entries(await readEveryWay(url)))
    t.match(seen, expected, `${way}: ${url.replace(/:[^:@/]*@/, ':***@')}`)
}

const base = `${server.url}`
const plain = {
  role: 'taskwire',
  database: 'taskwire',
  name: 'taskwire test',
  settings: 'off off',
  memory: '4MB',
  encrypted: false,
}

t.test('parameters of other programs change nothing, and our options override those of the URL', async (t) => {
  const foreign =
    'channel_binding=require&pgbouncer=true&schema=public&connection_limit=1&pool_timeout=0&target_session_attrs=any&search_path=x&fetch_types=true&max=1&prepare=false'
  await assertAlike(t, `${base}?${foreign}`, plain)
  t.equal(
    describeIgnored(readDatabaseUrl(`${base}?${foreign}`)),
    'DATABASE_URL: channel_binding, pgbouncer, schema, connection_limit, pool_timeout, search_path, fetch_types, max, prepare are ignored. Pass server settings as options=-c%20name%3Dvalue.',
  )
  const options = encodeURIComponent('-c work_mem=1234kB -c enable_seqscan=on -c jit=on')
  for (const [way, seen] of Object.entries(await readEveryWay(`${base}?options=${options}`)))
    t.match(seen, { ...plain, memory: '1234kB' }, way)
  await assertAlike(t, `${base}?application_name=billing&connect_timeout=3`, {
    ...plain,
    name: 'billing (taskwire test)',
  })
  await assertAlike(t, `${base}?connect_timeout=0`.replace('postgres:', 'postgresql:'), plain)
  t.equal(
    describeIgnored(
      readDatabaseUrl(`${base}?connect_timeout=3&sslmode=disable&channel_binding=prefer&uselibpqcompat=true`),
    ),
    undefined,
  )
})

t.test('names and passwords may hold any character, and parts may be missing', async (t) => {
  const password = 'p%2F@: ?#&é%'
  const sql = postgres(base, { max: 1, onnotice: () => {} })
  await sql.unsafe(`alter role taskwire password '${password}'`)
  await sql.end()
  const { port } = server
  const encoded = encodeURIComponent(password)
  await assertAlike(t, `postgres://taskwire:${encoded}@127.0.0.1:${port}/taskwire`, plain)
  await assertAlike(t, `postgres://taskwire:${encoded}@127.0.0.1:${port}`, plain)
  await assertAlike(t, `postgres://127.0.0.1:${port}/?user=taskwire&password=${encoded}&dbname=taskwire`, plain)
  await assertAlike(t, `postgres://taskwire:${encoded}@127.0.0.1/taskwire?port=${port}`, plain)
  for (const url of [
    `postgres:///taskwire?host=${folder}&port=${port}&user=taskwire&password=${encoded}`,
    `postgres://taskwire:${encoded}@/taskwire?host=${folder}&port=${port}`,
  ])
    await assertAlike(t, url, plain)
  await assertAlike(t, `postgres://taskwire:${encoded}@${encodeURIComponent(folder)}:${port}/taskwire`, plain)
  await assertAlike(
    t,
    `postgres://taskwire:${encoded}@127.0.0.1:${port}/no%20such`,
    /database "no such" does not exist/,
  )
  await assertAlike(t, `postgres://taskwire:guess@127.0.0.1:${port}/taskwire`, /password authentication failed/)
  const restore = postgres({ host: '127.0.0.1', port, user: 'taskwire', pass: password, database: 'taskwire', max: 1 })
  await restore.unsafe(`alter role taskwire password '${new URL(base).password}'`)
  await restore.end()
})

t.test('sslmode has the meaning that it has in libpq', async (t) => {
  const local = base.replace('127.0.0.1', 'localhost')
  const encrypted = { ...plain, encrypted: true }
  for (const mode of ['sslmode=disable', 'sslmode=allow', 'sslmode=prefer', 'ssl=false'])
    await assertAlike(t, `${base}?${mode}`, plain)
  t.match(describeIgnored(readDatabaseUrl(`${base}?sslmode=prefer`)), /^DATABASE_URL: sslmode=prefer is ignored/)
  for (const mode of [
    'sslmode=require',
    'sslmode=no-verify',
    'sslmode=require&channel_binding=require',
    'sslnegotiation=direct',
  ])
    await assertAlike(t, `${base}?${mode}`, encrypted)
  const own = `sslrootcert=${certificate.cert}`
  await assertAlike(t, `${base}?sslmode=verify-ca&${own}`, encrypted)
  await assertAlike(t, `${local}?sslmode=verify-full&${own}`, encrypted)
  await assertAlike(t, `${base}?sslmode=verify-full&${own}`, /Hostname\/IP does not match/)
  const self = /self[- ]signed certificate/
  for (const mode of ['require', 'verify-ca', 'verify-full'])
    await assertAlike(t, `${local}?sslmode=${mode}&sslrootcert=${certificate.other}`, self)
  for (const query of ['sslmode=verify-full', 'sslmode=verify-ca', 'ssl=true', 'sslrootcert=system'])
    await assertAlike(t, `${local}?${query}`, self)
})

t.test('a URL that cannot be parsed is reported in one line, without the password', async (t) => {
  const cases: [string, RegExp][] = [
    ['postgres://me:secret@a:1,b:2/x', /names several hosts/],
    ['postgres://me:secret@/x?host=a,b', /names several hosts/],
    ['postgres://me:secret#1@a/x', /is not a URL such as/],
    ['mysql://me:secret@a/x', /is not a URL such as/],
    ['postgres://me:secret@a/x?sslmode=always', /sslmode=always is not valid\. Use disable/],
    ['postgres://me:secret@a/x?port=http', /port=http is not a number/],
    ['postgres://me:secret@a/x?connect_timeout=soon', /connect_timeout=soon is not a number/],
    ['postgres://me:secret@a/x?sslrootcert=/nowhere', /cannot read sslrootcert=\/nowhere \(ENOENT\)/],
  ]
  for (const [url, message] of cases) {
    t.throws(() => readDatabaseUrl(url), { name: 'StartupError', message })
    try {
      readDatabaseUrl(url)
    } catch (error) {
      t.notMatch(String(error), /secret|\n/)
    }
  }
  t.strictSame(
    [
      'postgres://h',
      'postgresql://u@h/d',
      'postgres:///d?host=/run',
      'http://h',
      'postgres://a,b/d',
      'postgres://h:x/d',
    ].map(isDatabaseUrl),
    [true, true, true, false, false, false],
  )
  t.equal(describeDatabase('postgres://me:secret@[::1]/x?application_name=a'), '[::1]:5432/x')
  t.match(
    describeIgnored(readDatabaseUrl('postgres://me@a/x?sslpassword=secret')),
    /^DATABASE_URL: sslpassword is ignored/,
  )
})
