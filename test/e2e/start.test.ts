/** The built `taskwire start`, as users run it: from nothing to a finished task, and through failures. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { WebSocket } from 'ws'
import { findRedisServer } from '../../src/services/embedded/redis.js'
import {
  createEmptyTask,
  findChild,
  MAIN,
  makeWorkingFolder,
  runsTasks,
  startEverything,
  waitForEnd,
  waitUntilGone,
} from '../helpers/processes.js'

const STOPPED = { code: 0, signal: null }
const hasRedis = (await findRedisServer()) !== undefined

t.test('from nothing to a finished task, and again', async (t) => {
  const cwd = await makeWorkingFolder(t)
  const first = await startEverything(t, cwd, { main: MAIN })
  let id = ''

  await t.test('each step is announced in a line before it is done', async (t) => {
    const steps = [
      'Starting PostgreSQL',
      ...(hasRedis ? ['Starting Redis'] : []),
      'Migrating the database',
      'Starting relay, worker and web',
      '',
      'Taskwire is ready',
    ]
    t.ok(first.stdout().startsWith(steps.join('\n')), first.stdout())
  })

  await t.test('the banner names the address and the services', async (t) => {
    t.match(first.stdout(), `PostgreSQL  its own, data in ${cwd}/.taskwire/postgres\n`)
    t.match(
      first.stdout(),
      hasRedis ? new RegExp(`Redis       its own \\(\\S+\\), data in ${cwd}/.taskwire/redis\n`) : /Redis +none found/,
    )
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
    const run = new Function('fetch', 'WebSocket', 'location', 'console', line)
    const fetchHere = (path: string, init: RequestInit) => fetch(first.address + path, init)
    const seen = await new Promise<string[]>((resolve) => {
      const statuses: string[] = []
      const log = (status: string) => {
        statuses.push(status)
        if (status === 'COMPLETED') resolve(statuses)
      }
      run(fetchHere, WebSocket, new URL(first.address), { log })
    })
    t.ok(seen.includes('PROCESSING'))
  })

  await t.test('Ctrl-C stops everything in order and leaves no process behind', async (t) => {
    // The supervisor, three roles, PostgreSQL and its child processes.
    t.ok(first.family.length > 5)
    first.signal('SIGINT')
    t.strictSame(await first.exited, STOPPED)
    await t.resolves(waitUntilGone(first.family))
    t.match(first.stdout(), /Stopping\..*\nStopped\.\n$/)
    t.equal(first.stderr(), '')
  })

  await t.test('a second start finds its data', async (t) => {
    const second = await startEverything(t, cwd)
    t.equal(await waitForEnd(second.address, id), 'COMPLETED')
    t.ok(await runsTasks(second.address))
    t.strictSame(await second.stop(), STOPPED)
    await t.resolves(waitUntilGone(second.family))
  })
})

/** Runs a command in a shell. On a machine without curl, sends the same request directly. */
async function runLine(line: string): Promise<string> {
  const done = await promisify(execFile)('/bin/sh', ['-c', line]).catch((error: { code?: number }) => {
    if (error.code !== 127) throw error
  })
  if (done !== undefined) return done.stdout
  const [, url = '', , body = ''] = /POST (\S+) -H '([^']+)' -d '([^']+)'/.exec(line) ?? []
  return (await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })).text()
}

t.test('a kill -9 of the supervisor leaves nothing blocked, not even the port', async (t) => {
  const cwd = await makeWorkingFolder(t)
  const first = await startEverything(t, cwd)
  const id = await createEmptyTask(first.address)
  t.equal(await waitForEnd(first.address, id), 'COMPLETED')
  first.signal('SIGKILL')
  await first.exited
  const second = await startEverything(t, cwd, { env: { PORT: new URL(first.address).port } })
  t.equal(second.address, first.address)
  t.equal(await waitForEnd(second.address, id), 'COMPLETED')
  t.ok(await runsTasks(second.address))
  await t.resolves(waitUntilGone(first.family))
  t.strictSame(await second.stop(), STOPPED)
  await t.resolves(waitUntilGone(second.family))
})

t.test('any process that dies is restarted, with a log line', async (t) => {
  const started = await startEverything(t, await makeWorkingFolder(t))
  const roles = { web: /main\.js web/, worker: /main\.js worker/, relay: /main\.js relay/ }
  const services = { PostgreSQL: /bin\/postgres /, ...(hasRedis ? { Redis: /127\.0\.0\.1:\d+/ } : {}) }
  for (const [name, mark] of Object.entries({ ...roles, ...services })) {
    process.kill(await findChild(started.pid, mark), 'SIGKILL')
    await started.waitFor(new RegExp(`^${name} ended \\(SIGKILL\\); trying again in 0\\.25 s$`, 'm'))
    await started.waitFor(new RegExp(`^${name} runs again$`, 'm'))
    t.ok(await runsTasks(started.address), `tasks run after ${name} was lost`)
  }
  t.strictSame(await started.stop(), STOPPED)
})
