/** How a start is refused or cancelled. `npm test` builds the command line first. */
import { once } from 'node:events'
import { readdir, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { findFreePort } from '../../src/services/embedded/server-process.js'
import {
  asOrdinaryUser,
  findChild,
  findFamily,
  makeWorkingFolder,
  oneLine,
  runsTasks,
  spawnStart,
  startEverything,
  waitUntilGone,
} from '../helpers/processes.js'
import { hasRedisServer, startPostgres, startRedis } from '../helpers/services.js'

const STOPPED = { code: 0, signal: null }
const REFUSED = { code: 1, signal: null }

t.test('a Ctrl-C while it starts is orderly', async (t) => {
  const cwd = await makeWorkingFolder(t)
  const started = spawnStart(t, cwd)
  // From here on, the PostgreSQL cluster is being created.
  while ((await stat(join(cwd, '.taskwire/postgres')).catch(() => undefined)) === undefined) await sleep(5)
  const family = await findFamily(started.pid)
  started.signal('SIGINT')
  t.strictSame(await started.exited, STOPPED)
  t.notMatch(started.output(), 'Taskwire is ready')
  await t.resolves(waitUntilGone(family))
})

t.test('a second Ctrl-C forces the end', async (t) => {
  const started = await startEverything(t, await makeWorkingFolder(t))
  // A frozen worker does not react to a request to stop.
  process.kill(await findChild(started.pid, /main\.js worker/), 'SIGSTOP')
  started.signal('SIGINT')
  await started.waitFor(/Stopping/)
  // A second signal within a second counts as the same Ctrl-C, passed on by npm.
  await sleep(1_100)
  started.signal('SIGINT')
  t.strictSame(await started.exited, REFUSED)
  await t.resolves(waitUntilGone(started.family))
})

t.test('two starts on one folder refuse each other', async (t) => {
  const cwd = await makeWorkingFolder(t)
  const first = await startEverything(t, cwd)
  const second = spawnStart(t, cwd)
  t.strictSame(await second.exited, REFUSED)
  t.equal(
    oneLine(second.output()),
    `taskwire: another start (process ${first.pid}) is already running on the data folder ${cwd}/.taskwire. Stop it, or set DATA_DIR to another folder.`,
  )
  t.ok(await runsTasks(first.address))
})

t.test('a taken port is reported in one line, before anything is started', async (t) => {
  const cwd = await makeWorkingFolder(t)
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const started = spawnStart(t, cwd, { env: { PORT: String(port) } })
  t.strictSame(await started.exited, REFUSED)
  t.equal(
    oneLine(started.output()),
    `taskwire: port ${port} on 127.0.0.1 is taken. Set PORT to a free port, or stop the program that uses it.`,
  )
  t.strictSame(await readdir(join(cwd, '.taskwire')), [])
})

t.test('a host that is not this machine is reported in one line', async (t) => {
  const started = spawnStart(t, await makeWorkingFolder(t), { env: { HOST: '192.0.2.1' } })
  t.strictSame(await started.exited, REFUSED)
  t.equal(
    oneLine(started.output()),
    'taskwire: 192.0.2.1 is not an address of this machine. Set HOST to an address that it has, e.g. 127.0.0.1.',
  )
})

t.test('an unreachable database is reported in one line, without its password', async (t) => {
  const port = await findFreePort()
  const started = spawnStart(t, await makeWorkingFolder(t), {
    env: { DATABASE_URL: `postgres://me:secret@127.0.0.1:${port}/x` },
  })
  t.strictSame(await started.exited, REFUSED)
  const line = oneLine(started.stderr())
  t.match(line, new RegExp(`^taskwire: cannot use PostgreSQL at 127\\.0\\.0\\.1:${port}/x: .*Check DATABASE_URL`))
  t.notMatch(line, 'secret')
})

t.test('an unreachable Redis is reported in one line, and everything started is stopped', async (t) => {
  const port = await findFreePort()
  const cwd = await makeWorkingFolder(t)
  const started = spawnStart(t, cwd, { env: { REDIS_URL: `redis://:secret@127.0.0.1:${port}` } })
  t.strictSame(await started.exited, REFUSED)
  const line = oneLine(started.stderr())
  t.match(line, new RegExp(`^taskwire: cannot reach Redis at 127\\.0\\.0\\.1:${port}: .*Check REDIS_URL`))
  t.notMatch(line, 'secret')
  t.notOk((await readdir(join(cwd, '.taskwire/postgres/data'))).includes('postmaster.pid'))
})

t.test('a given database is used instead of one of its own', async (t) => {
  const cwd = await makeWorkingFolder(t)
  const postgres = await startPostgres(t, { isEmpty: true })
  const started = await startEverything(t, cwd, { env: { DATABASE_URL: postgres.url } })
  t.match(started.stdout(), `PostgreSQL  127.0.0.1:${postgres.port}/taskwire (DATABASE_URL)`)
  t.notMatch(started.stdout(), new URL(postgres.url).password)
  t.ok(await runsTasks(started.address))
  t.notOk((await readdir(join(cwd, '.taskwire'))).includes('postgres'))
})

t.test(
  'with both servers given the data folder holds the files of tasks, and no data of servers',
  { skip: !(await hasRedisServer()) && 'there is no Redis here' },
  async (t) => {
    const cwd = await makeWorkingFolder(t)
    const [postgres, redis] = [await startPostgres(t, { isEmpty: true }), await startRedis(t)]
    const started = await startEverything(t, cwd, { env: { DATABASE_URL: postgres.url, REDIS_URL: redis.url } })
    t.match(started.stdout(), `Redis       127.0.0.1:${redis.port} (REDIS_URL)`)
    t.notMatch(started.stdout(), new URL(redis.url).password)
    t.ok(await runsTasks(started.address))
    t.strictSame(await started.stop(), STOPPED)
    t.strictSame((await readdir(join(cwd, '.taskwire'))).sort(), ['artifacts', 'emails'])
  },
)

t.test('without a Redis on PATH, PostgreSQL carries the tasks, and one line explains the consequences', async (t) => {
  const started = await startEverything(t, await makeWorkingFolder(t), { env: { PATH: '/nothing/here' } })
  t.match(
    started.stdout(),
    /^ +Redis +none found, so PostgreSQL carries tasks and live updates, which is slower\. Install redis-server .*start again$/m,
  )
  t.ok(await runsTasks(started.address))
  t.strictSame(await started.stop(), STOPPED)
})

t.test('a data folder that is not writable is reported in one line', async (t) => {
  const cwd = await makeWorkingFolder(t, { mode: 0o555 })
  const started = spawnStart(t, cwd, await asOrdinaryUser(t))
  t.strictSame(await started.exited, REFUSED)
  t.equal(
    oneLine(started.output()),
    `taskwire: cannot write to the data folder ${cwd}/.taskwire: permission denied. Set DATA_DIR to a folder that you can write to.`,
  )
})

t.test('every wrong setting is reported at once', async (t) => {
  const started = spawnStart(t, await makeWorkingFolder(t), { env: { PORT: 'http', WORKER_CONCURRENCY: '0' } })
  t.strictSame(await started.exited, REFUSED)
  t.match(started.stderr(), /^taskwire: PORT=http: expected .*\ntaskwire: WORKER_CONCURRENCY=0: expected .*\n$/)
})
