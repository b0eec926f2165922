/** The built command line, as a user runs it. `npm test` builds it first. */
import { execFile } from 'node:child_process'
import { chmod, chown, cp, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { canExecute, findDefaultUser } from '../../src/services/service-user.js'
import { findFreePort, type UserIds } from '../../src/services/server-process.js'
import { findRedisServer } from '../../src/services/redis.js'
import { findFamily, MAIN, pressCtrlC, spawnTaskwire, startRole, waitUntilGone, type ProcessOptions } from '../helpers/processes.js'
import { startPostgres } from '../helpers/services.js'

const READY = /Taskwire is ready: (http:\/\/\S+)/
const STOPPED = { code: 0, signal: null }
const REFUSED = { code: 1, signal: null }
const SHARED_FOLDER = /^Data and programs of the services are in (\S+): \S+ is closed to the user that PostgreSQL runs as\.$/m

const user = await findDefaultUser()
const hasRedis = (await findRedisServer()) !== undefined

/** A working folder, open to the user the services run as unless `mode` says otherwise. */
async function makeFolder(t: Test, options: { mode?: number; owner?: UserIds | undefined } = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'taskwire-start-'))
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))
  if (options.owner !== undefined) await chown(folder, options.owner.uid, options.owner.gid)
  await chmod(folder, options.mode ?? 0o755)
  return folder
}

function spawnStart(t: Test, cwd: string, options: ProcessOptions = {}) {
  return spawnTaskwire(t, ['start'], { cwd, ...options, env: { PORT: '0', ...options.env } })
}

/** Starts everything and waits for the banner. */
async function start(t: Test, cwd: string, options: ProcessOptions = {}) {
  const started = spawnStart(t, cwd, options)
  const [, address = ''] = await started.waitFor(READY)
  await started.waitFor(/Ctrl-C stops everything/)
  return { ...started, address, family: await findFamily(started.pid) }
}

async function createTask(address: string): Promise<string> {
  const body = JSON.stringify({ type: 'demo.sleep', payload: { steps: 0 } })
  const answer = await fetch(`${address}/api/tasks`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const { id } = (await answer.json()) as { id: string }
  return id
}

/** Polls, as the API is what comes and goes here. Resolves with the status, once it is final. */
async function waitForEnd(address: string, id: string): Promise<string> {
  for (;;) {
    const answer = await fetch(`${address}/api/tasks/${id}`).catch(() => undefined)
    const { status } = answer?.ok === true ? ((await answer.json()) as { status: string }) : { status: 'unknown' }
    if (['COMPLETED', 'FAILED'].includes(status)) return status
    await sleep(50)
  }
}

/** The output is the one line of an error. */
function oneLine(text: string): string {
  const lines = text.trim().split('\n')
  return lines.length === 1 ? (lines[0] ?? '') : `${lines.length} lines: ${text}`
}

t.test('from nothing to a finished task, and again', async (t) => {
  const cwd = await makeFolder(t)
  const first = await start(t, cwd)
  let id = ''

  await t.test('the banner says where it is and what it runs on', async (t) => {
    t.match(first.stdout(), new RegExp(`PostgreSQL  its own, data in ${cwd}/.taskwire/postgres\n`))
    t.match(first.stdout(), hasRedis ? new RegExp(`Redis       its own \\(\\S+\\), data in ${cwd}/.taskwire/redis\n`) : /Redis +none found/)
    t.equal(first.stderr(), '')
  })

  await t.test('the curl line works when it is pasted', async (t) => {
    const line = /^ +(curl .*)$/m.exec(first.stdout())?.[1] ?? ''
    const task = JSON.parse(await runLine(line)) as { id: string; title: string }
    t.equal(task.title, 'example task')
    id = task.id
    t.equal(await waitForEnd(first.address, id), 'COMPLETED')
  })

  await t.test('the console line works when it is pasted', async (t) => {
    const line = /^ +(fetch\(.*)$/m.exec(first.stdout())?.[1] ?? ''
    const seen: string[] = []
    const fetchHere = (path: string, init: RequestInit) => fetch(first.address + path, init)
    const run = new Function('fetch', 'WebSocket', 'location', 'console', line)
    await new Promise<void>((resolve) => {
      const log = (status: string) => {
        seen.push(status)
        if (status === 'COMPLETED') resolve()
      }
      run(fetchHere, WebSocket, new URL(first.address), { log })
    })
    t.equal(seen.at(-1), 'COMPLETED')
  })

  await t.test('Ctrl-C stops everything in order and leaves no process behind', async (t) => {
    t.ok(first.family.length > 5)
    first.signal('SIGINT')
    t.strictSame(await first.exited, STOPPED)
    await t.resolves(waitUntilGone(first.family))
    t.match(first.stdout(), /Stopping\..*\nStopped\.\n$/)
    t.equal(first.stderr(), '')
  })

  await t.test('a second start finds its data', async (t) => {
    const second = await start(t, cwd)
    t.equal(await waitForEnd(second.address, id), 'COMPLETED')
    t.strictSame(await second.stop(), STOPPED)
    await t.resolves(waitUntilGone(second.family))
  })
})

/** Runs a line as a shell does; where there is no curl, sends what curl would. */
async function runLine(line: string): Promise<string> {
  const done = await promisify(execFile)('/bin/sh', ['-c', line]).catch((error: { code?: number }) => {
    if (error.code !== 127) throw error
  })
  if (done !== undefined) return done.stdout
  const [, url = '', , body = ''] = /POST (\S+) -H '([^']+)' -d '([^']+)'/.exec(line) ?? []
  return (await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })).text()
}

t.test('a kill -9 of the supervisor blocks nothing, not even the port', async (t) => {
  const cwd = await makeFolder(t)
  const first = await start(t, cwd)
  const id = await createTask(first.address)
  t.equal(await waitForEnd(first.address, id), 'COMPLETED')
  first.signal('SIGKILL')
  await first.exited
  const second = await start(t, cwd, { env: { PORT: new URL(first.address).port } })
  t.equal(second.address, first.address)
  t.equal(await waitForEnd(second.address, id), 'COMPLETED')
  await t.resolves(waitUntilGone(first.family))
  t.strictSame(await second.stop(), STOPPED)
  await t.resolves(waitUntilGone(second.family))
})

t.test('whatever dies is started again, saying so', async (t) => {
  const started = await start(t, await makeFolder(t))
  const parts = { web: / web$| web /, worker: / worker /, relay: / relay /, PostgreSQL: /bin\/postgres /, ...(hasRedis ? { Redis: /127\.0\.0\.1:\d+/ } : {}) }
  for (const [name, mark] of Object.entries(parts)) {
    process.kill(await findProcess(started.pid, mark), 'SIGKILL')
    await started.waitFor(new RegExp(`^${name} ended \\(SIGKILL\\); trying again in 0\\.\\d+ s$`, 'm'))
    await started.waitFor(new RegExp(`^${name} runs again$`, 'm'))
    t.equal(await waitForEnd(started.address, await createWhenUp(started.address)), 'COMPLETED', `tasks run after ${name} was lost`)
  }
  t.strictSame(await started.stop(), STOPPED)
})

/** The child of the supervisor that has this in its command line. */
async function findProcess(supervisor: number, mark: RegExp): Promise<number> {
  for (const pid of (await findFamily(supervisor)).slice(1)) {
    const commandLine = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ')
    if (mark.test(commandLine)) return pid
  }
  throw new Error(`no process with ${mark}`)
}

/** While the database comes back, creating is refused with 503. */
async function createWhenUp(address: string): Promise<string> {
  for (;;) {
    const id = await createTask(address).catch(() => undefined)
    if (id !== undefined) return id
    await sleep(50)
  }
}

t.test('a Ctrl-C that reaches the whole process group is orderly too', async (t) => {
  const started = await start(t, await makeFolder(t), { ownGroup: true })
  pressCtrlC(started)
  t.strictSame(await started.exited, STOPPED)
  t.notMatch(started.output(), /ended|error/i)
  await t.resolves(waitUntilGone(started.family))
})

t.test('a Ctrl-C while it starts is orderly too', async (t) => {
  const cwd = await makeFolder(t)
  const started = spawnStart(t, cwd)
  while (!(await stat(join(cwd, '.taskwire/postgres')).catch(() => undefined))) await sleep(5)
  const family = await findFamily(started.pid)
  started.signal('SIGINT')
  t.strictSame(await started.exited, STOPPED)
  t.notMatch(started.output(), READY)
  await t.resolves(waitUntilGone(family))
})

t.test('a second Ctrl-C forces the end', async (t) => {
  const started = await start(t, await makeFolder(t))
  // A frozen worker does not stop when it is asked to.
  process.kill(await findProcess(started.pid, / worker /), 'SIGSTOP')
  started.signal('SIGINT')
  await started.waitFor(/Stopping/)
  const sameSignalMs = 1_100
  await sleep(sameSignalMs)
  started.signal('SIGINT')
  t.strictSame(await started.exited, REFUSED)
  await t.resolves(waitUntilGone(started.family))
})

t.test('two starts on one folder refuse each other', async (t) => {
  const cwd = await makeFolder(t)
  const first = await start(t, cwd)
  const second = spawnStart(t, cwd)
  t.strictSame(await second.exited, REFUSED)
  t.equal(
    oneLine(second.output()),
    `taskwire: another start (process ${first.pid}) already runs on the data folder ${cwd}/.taskwire. Stop it, or set DATA_DIR to another folder.`,
  )
  t.equal((await fetch(`${first.address}/healthz`)).status, 200)
})

t.test('a taken port is one clear line, before anything is started', async (t) => {
  const cwd = await makeFolder(t)
  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  const port = await findFreePortOf(server)
  const started = spawnStart(t, cwd, { env: { PORT: String(port) } })
  t.strictSame(await started.exited, REFUSED)
  t.equal(oneLine(started.output()), `taskwire: port ${port} on 127.0.0.1 is taken. Set PORT to a free one, or stop what uses it.`)
  t.strictSame(await readdir(join(cwd, '.taskwire')), [])
})

async function findFreePortOf(server: ReturnType<typeof createServer>): Promise<number> {
  if (!server.listening) await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

t.test('servers that cannot be reached are one clear line, without their passwords', async (t) => {
  const port = await findFreePort()
  const database = spawnStart(t, await makeFolder(t), { env: { DATABASE_URL: `postgres://me:secret@127.0.0.1:${port}/x` } })
  t.strictSame(await database.exited, REFUSED)
  t.match(oneLine(database.output()), new RegExp(`^taskwire: cannot use PostgreSQL at 127\\.0\\.0\\.1:${port}/x: .*Check DATABASE_URL`))
  const redis = spawnStart(t, await makeFolder(t), { env: { REDIS_URL: `redis://:secret@127.0.0.1:${port}` } })
  const family = await findFamily(redis.pid)
  t.strictSame(await redis.exited, REFUSED)
  t.match(oneLine(redis.output()), new RegExp(`^taskwire: cannot reach Redis at 127\\.0\\.0\\.1:${port}: .*Check REDIS_URL`))
  t.notMatch(database.output() + redis.output(), 'secret')
  await t.resolves(waitUntilGone(family))
})

t.test('a given database is used instead of one of its own', async (t) => {
  const cwd = await makeFolder(t)
  const postgres = await startPostgres(t)
  const started = await start(t, cwd, { env: { DATABASE_URL: postgres.url, PATH: '/nonexistent' } })
  t.match(started.stdout(), `PostgreSQL  127.0.0.1:${postgres.port}/taskwire (DATABASE_URL)`)
  t.notMatch(started.stdout(), new URL(postgres.url).password)
  t.equal(await waitForEnd(started.address, await createTask(started.address)), 'COMPLETED')
  t.notOk((await readdir(join(cwd, '.taskwire'))).includes('postgres'))
})

t.test('without a Redis on PATH PostgreSQL carries the tasks, and one line says what that means', async (t) => {
  const started = await start(t, await makeFolder(t), { env: { PATH: '/bin-without-redis' } })
  t.match(started.stdout(), /^ +Redis +none found: PostgreSQL carries tasks and live updates, which is slower; install redis-server .*start again$/m)
  t.equal(await waitForEnd(started.address, await createTask(started.address)), 'COMPLETED')
  t.strictSame(await started.stop(), STOPPED)
})

t.test('a data folder that cannot be written is one clear line', async (t) => {
  const cwd = await makeFolder(t, { mode: 0o555 })
  const started = spawnStart(t, cwd, { ...(await asOrdinaryUser(t)) })
  t.strictSame(await started.exited, REFUSED)
  t.equal(
    oneLine(started.output()),
    `taskwire: cannot write to the data folder ${cwd}/.taskwire: permission denied. Set DATA_DIR to a folder you can write to.`,
  )
})

t.test('every wrong setting is reported at once', async (t) => {
  const started = spawnStart(t, await makeFolder(t), { env: { PORT: 'http', WORKER_CONCURRENCY: '0' } })
  t.strictSame(await started.exited, REFUSED)
  t.match(started.stderr(), /^taskwire: PORT=http: expected .*\ntaskwire: WORKER_CONCURRENCY=0: expected .*\n$/)
})

t.test('an ordinary user starts it in a folder of their own', async (t) => {
  const ordinary = await asOrdinaryUser(t)
  const cwd = await makeFolder(t, { mode: 0o700, owner: ordinary.user })
  const started = await start(t, cwd, ordinary)
  t.equal(await waitForEnd(started.address, await createTask(started.address)), 'COMPLETED')
  t.match(started.stdout(), `data in ${cwd}/.taskwire/postgres`)
  t.strictSame(await started.stop(), STOPPED)
})

/** How to run as somebody who is not root; from a copy of the project when it lies where only root can go. */
async function asOrdinaryUser(t: Test): Promise<ProcessOptions> {
  if (user === undefined) return {}
  if (canExecute(dirname(MAIN), user)) return { user }
  const copy = await makeFolder(t)
  const project = dirname(dirname(MAIN))
  for (const name of ['dist', 'drizzle', 'public', 'node_modules', 'package.json']) {
    await cp(join(project, name), join(copy, name), { recursive: true, verbatimSymlinks: true })
  }
  return { user, main: join(copy, 'dist', 'main.js') }
}

t.test('root starts it in a folder that others cannot enter', { skip: user === undefined && 'only root can' }, async (t) => {
  const cwd = await makeFolder(t, { mode: 0o700 })
  const first = await start(t, cwd)
  const [, place = ''] = SHARED_FOLDER.exec(first.stdout()) ?? []
  t.teardown(() => rm(place, { recursive: true, force: true }))
  t.match(first.stdout(), `data in ${place}/postgres`)
  const id = await createTask(first.address)
  t.equal(await waitForEnd(first.address, id), 'COMPLETED')
  t.strictSame(await first.stop(), STOPPED)
  const second = await start(t, cwd)
  t.equal(await waitForEnd(second.address, id), 'COMPLETED')
  t.strictSame(await second.stop(), STOPPED)
})

t.test('a single role stops in an orderly way, alone and when its supervisor goes', async (t) => {
  const postgres = await startPostgres(t)
  const env = { DATABASE_URL: postgres.url, PORT: '0' }
  const migrated = spawnTaskwire(t, ['migrate'], { env })
  t.strictSame(await migrated.exited, STOPPED)
  t.equal(migrated.output(), 'The database is up to date.\n')
  for (const role of ['web', 'worker', 'relay'] as const) {
    const alone = spawnTaskwire(t, [role], { env })
    await alone.waitFor(/"msg":"ready"/)
    alone.signal('SIGINT')
    t.strictSame(await alone.exited, STOPPED, `${role} stops at Ctrl-C`)
  }
  const web = await startRole(t, 'web', { env })
  t.equal((await fetch(`${web.address}/healthz`)).status, 200)
  t.strictSame(await web.stop(), STOPPED)
})

t.test('a role that cannot start says why in one line', async (t) => {
  const env = { DATABASE_URL: `postgres://me:secret@127.0.0.1:${await findFreePort()}/x` }
  for (const role of ['worker', 'relay', 'web', 'migrate']) {
    const started = spawnTaskwire(t, [role], { env })
    t.strictSame(await started.exited, REFUSED)
    t.match(oneLine(started.output()), /^taskwire: cannot .*PostgreSQL at 127\.0\.0\.1/, role)
  }
  const missing = spawnTaskwire(t, ['worker'])
  t.strictSame(await missing.exited, REFUSED)
  t.match(oneLine(missing.stderr()), /^taskwire: DATABASE_URL is missing: expected a URL such as postgres:/)
})

t.test('the command line explains itself', async (t) => {
  const help = spawnTaskwire(t, ['help'])
  t.strictSame(await help.exited, STOPPED)
  t.match(help.stdout(), /^Usage: taskwire <command>[^]*DATABASE_URL[^]*PORT/)
  const version = spawnTaskwire(t, ['--version'])
  t.strictSame(await version.exited, STOPPED)
  t.match(version.stdout(), /^\d+\.\d+\.\d+\n$/)
  for (const args of [['bake'], [], ['web', '--fast']]) {
    const wrong = spawnTaskwire(t, args)
    t.strictSame(await wrong.exited, { code: 2, signal: null })
    t.match(wrong.stderr(), /^taskwire: (there is no command bake|which command\?|web takes no --fast)\n\nUsage:/)
  }
})
