import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, cp, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t from 'tap'
import { findPackage, findPostgresBinaries } from '../../src/services/embedded/postgres-binaries.js'
import { initPostgres, startPostgres, type PostgresOptions } from '../../src/services/embedded/postgres.js'
import { findDefaultUser, findSharedFolder } from '../../src/services/embedded/service-user.js'
import { findAlive } from '../helpers/processes.js'
import type { TestScope } from '../helpers/services.js'

const user = await findDefaultUser()
const parent = await mkdtemp(join(tmpdir(), 'taskwire-test-'))
await chmod(parent, 0o755)
const folder = join(parent, 'postgres')
await initPostgres(folder, { user, initdbFlags: ['--no-sync'] })
t.teardown(() => rm(parent, { recursive: true, force: true }))

const quick: PostgresOptions = { folder, user, settings: { fsync: 'off', shared_buffers: '16MB' } }

async function startHere(t: TestScope, options: Partial<PostgresOptions> = {}) {
  const server = await startPostgres({ ...quick, ...options })
  t.teardown(() => server.kill())
  return server
}

async function query(url: string, text: string) {
  const client = postgres(url, { max: 1, onnotice: () => {} })
  try {
    return [...(await client.unsafe(text))]
  } finally {
    await client.end()
  }
}

t.test('it listens on 127.0.0.1 only, asks for its password, and keeps its files private', async (t) => {
  const server = await startHere(t)
  t.match(await query(server.url, 'show listen_addresses'), [{ listen_addresses: '127.0.0.1' }])
  // The fifth line is the folder of the socket file.
  t.equal((await readFile(join(folder, 'data', 'postmaster.pid'), 'utf8')).split('\n')[4], '')
  await t.rejects(query(server.url.replace(/:[0-9a-f]+@/, ':guess@'), 'select 1'), { code: '28P01' })
  t.equal((await stat(folder)).mode & 0o777, 0o700)
  t.equal((await stat(join(folder, 'password'))).mode & 0o777, 0o600)
  t.notMatch(await readFile(`/proc/${server.pid}/cmdline`, 'utf8').catch(() => ''), new URL(server.url).password)
})

t.test('it stores text of every language, in UTC, synced to disk unless told otherwise', async (t) => {
  const server = await startPostgres({ folder, user })
  t.teardown(() => server.kill())
  t.match(
    await query(
      server.url,
      `select current_setting('server_encoding') as encoding, upper('äß') as upper, current_setting('timezone') as zone`,
    ),
    [{ encoding: 'UTF8', upper: 'Äß', zone: 'UTC' }],
  )
  t.match(await query(server.url, 'show fsync'), [{ fsync: 'on' }])
})

t.test('a second start finds its data, on the requested port', async (t) => {
  const first = await startHere(t)
  await query(first.url, 'create table kept as select 42 as answer')
  await first.stop()
  const second = await startHere(t, { port: first.port })
  t.equal(second.url, first.url)
  t.match(await query(second.url, 'select answer from kept'), [{ answer: 42 }])
})

t.test('a server left over by a killed supervisor is stopped first, even when it is frozen', async (t) => {
  for (const isFrozen of [false, true]) {
    const left = await startHere(t)
    if (isFrozen) process.kill(left.pid, 'SIGSTOP')
    const server = await startHere(t)
    t.strictSame(await findAlive([left.pid]), [])
    t.match(await query(server.url, 'select answer from kept'), [{ answer: 42 }])
    await server.stop()
  }
})

t.test(
  'a stale pid file that names an unrelated process does not block the start, and the process survives',
  async (t) => {
    const somebody = spawn('sleep', ['60'], { stdio: 'ignore', ...user })
    await once(somebody, 'spawn')
    t.teardown(() => somebody.kill())
    const pidFile = join(folder, 'data', 'postmaster.pid')
    await writeFile(pidFile, `${somebody.pid}\n${join(folder, 'data')}\n`)
    if (user !== undefined) await chown(pidFile, user.uid, user.gid)
    const server = await startHere(t)
    t.match(await query(server.url, 'select 1 as one'), [{ one: 1 }])
    t.equal(somebody.exitCode ?? somebody.signalCode, null)
  },
)

t.test('an initdb left over by a killed start, still writing, disturbs nothing', async (t) => {
  const fresh = join(parent, 'fresh')
  const draft = join(fresh, 'data.new')
  // Lets the writer survive errors while its folder is being deleted.
  const writer = `for (let i = 0; ; i++) try { require('fs').mkdirSync(\`${draft}/base/\${i % 50}\`, { recursive: true }) } catch {}`
  const left = spawn(process.execPath, ['-e', writer], { stdio: 'ignore' })
  const exited = once(left, 'exit')
  t.teardown(() => left.kill('SIGKILL'))
  while ((await stat(join(draft, 'base/49')).catch(() => undefined)) === undefined) await sleep(5)
  await initPostgres(fresh, { user, initdbFlags: ['--no-sync'] })
  t.ok(await stat(join(fresh, 'data', 'PG_VERSION')))
  t.equal(left.exitCode, null, 'it is still writing')
  left.kill('SIGKILL')
  await exited
  // The next cluster created here removes the remains of the writer.
  await rm(join(fresh, 'data'), { recursive: true })
  await initPostgres(fresh, { user, initdbFlags: ['--no-sync'] })
  t.strictSame((await readdir(fresh)).sort(), ['data', 'password'])
})

t.test('data of another major version is reported in one clear line', async (t) => {
  const versionFile = join(folder, 'data', 'PG_VERSION')
  const version = await readFile(versionFile, 'utf8')
  t.teardown(() => writeFile(versionFile, version))
  await writeFile(versionFile, '11\n')
  await t.rejects(startHere(t), {
    name: 'StartupError',
    message: /^the data in \S+ was created by PostgreSQL 11, but the embedded one is \d+/,
  })
})

t.test('a server that does not start says why in one line', async (t) => {
  await t.rejects(startHere(t, { settings: { shared_buffers: 'lots' } }), {
    name: 'StartupError',
    message: /^PostgreSQL does not start: .*invalid value for parameter "shared_buffers".*server\.log\)$/,
  })
})

t.test('library links that an install without scripts omitted are created', async (t) => {
  const copy = join(parent, 'package')
  await cp(findPackage(), copy, { recursive: true, verbatimSymlinks: true })
  const link = join(copy, 'native', 'lib', 'libpq.so.5')
  await rm(link)
  const binaries = await findPostgresBinaries(user, copy)
  t.match(await readlink(link), /^libpq\.so\.5\.\d+$/)
  t.match(binaries, { postgres: join(copy, 'native', 'bin', 'postgres'), major: /^\d+$/ })
})

t.test(
  'programs that the user cannot reach are copied to a folder that it can reach',
  { skip: user === undefined && 'only root runs it as another user' },
  async (t) => {
    const closed = join(parent, 'closed')
    await cp(findPackage(), closed, { recursive: true, verbatimSymlinks: true })
    await chmod(closed, 0o700)
    const shared = await findSharedFolder()
    const before = await readdir(shared)
    const binaries = await findPostgresBinaries(user, closed)
    t.match(binaries, {
      postgres: new RegExp(`^${shared}/postgresql-[^/]+/native/bin/postgres$`),
      version: /^\d+\.\d+$/,
    })
    t.strictSame(await findPostgresBinaries(user, closed), binaries)
    // Copies that existed before the test belong to other installations.
    for (const name of await readdir(shared))
      if (!before.includes(name)) await rm(join(shared, name), { recursive: true })
  },
)
