import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createRoleRecord, launchRole, type RoleOptions } from '../../src/services/supervise/role-process.js'
import { findAlive, waitUntilGone } from '../helpers/processes.js'

const RUN_ROLE = new URL('../../dist/services/supervise/run-role.js', import.meta.url).href
const ROLE_PROCESS = new URL('../../dist/services/supervise/role-process.js', import.meta.url).href

/** A command line whose small roles use the real start-up code. `stuck` ignores every request to stop. */
const MAIN = `
import { runRole, reportToSupervisor } from '${RUN_ROLE}'
const starts = {
  web: async () => ({ address: 'http://127.0.0.1:4711', stop: async () => {} }),
  talkative: async () => {
    for (const message of [null, 1, 'ready', {}, { type: null }]) process.send(message)
    setTimeout(() => {
      for (const type of ['ready', 'failed']) process.send({ type, address: 'http://another', message: 'a lie' })
      process.send('told')
    }, 50)
    return { address: 'http://127.0.0.1:4712', stop: async () => {} }
  },
  worker: async () => { throw new Error('no hands') },
  relay: async () => { process.exit(3) },
  stuck: async () => ({ stop: () => new Promise(() => setInterval(() => {}, 1000)) }),
}
const role = process.argv[2]
runRole(['stuck', 'talkative'].includes(role) ? 'relay' : role, starts[role]).catch(async (error) => {
  await reportToSupervisor({ type: 'failed', message: error.message })
  process.exit(1)
})
`

function setUp(t: Test, role: string) {
  const dir = t.testdir({ 'main.mjs': MAIN })
  const seen = { pid: 0, address: '' }
  const options: RoleOptions = {
    main: join(dir, 'main.mjs'),
    role,
    env: {
      PATH: process.env['PATH'],
      DATABASE_URL: 'postgres://localhost/x',
      LOG_LEVEL: 'silent',
    },
    mark: `--data-dir=${dir}`,
    stopDeadlineMs: 10_000,
    onSpawn: (pid) => (seen.pid = pid),
    onReady: (address) => (seen.address = address ?? ''),
  }
  const launched = launchRole(options)
  t.teardown(() => launched.kill())
  return { dir, seen, launched, options }
}

t.test('other messages of a role mean nothing, whatever they are', async (t) => {
  const { launched, seen } = setUp(t, 'talkative')
  await launched.ready
  t.equal(seen.address, 'http://127.0.0.1:4712')
  const leewayMs = 300
  await new Promise((resolve) => setTimeout(resolve, leewayMs))
  t.equal(seen.address, 'http://127.0.0.1:4712')
  await launched.stop()
  t.equal(await launched.exited, 'exit code 0')
})

t.test('a role reports its address, ignores Ctrl-C, and stops on request', async (t) => {
  const { launched, seen } = setUp(t, 'web')
  await launched.ready
  t.equal(seen.address, 'http://127.0.0.1:4711')
  process.kill(seen.pid, 'SIGINT')
  process.kill(seen.pid, 'SIGHUP')
  const leewayMs = 200
  await new Promise((resolve) => setTimeout(resolve, leewayMs))
  t.strictSame(await findAlive([seen.pid]), [seen.pid])
  await launched.stop()
  t.equal(await launched.exited, 'exit code 0')
})

t.test('a role that cannot start says why', async (t) => {
  const { launched } = setUp(t, 'worker')
  await t.rejects(launched.ready, { message: 'no hands' })
  t.equal(await launched.exited, 'exit code 1')
})

t.test('a role that ends before it is ready is a failed start', async (t) => {
  const { launched } = setUp(t, 'relay')
  await t.rejects(launched.ready, { message: 'taskwire relay ended before it was ready (exit code 3)' })
})

t.test('a role can be stopped while it starts', async (t) => {
  const { launched, seen } = setUp(t, 'web')
  launched.ready.catch(() => {})
  await launched.stop()
  t.strictSame(await findAlive([seen.pid]), [])
})

/** Starts a supervisor with a role, and kills the supervisor. */
async function killSupervisorOf(t: Test, role: string) {
  const { dir, options, launched } = setUp(t, 'web')
  await launched.kill()
  const supervisor = `
import { createRoleRecord, launchRole } from '${ROLE_PROCESS}'
const record = createRoleRecord('${dir}')
const options = { ...JSON.parse(process.argv[2]), mark: record.mark, onReady() {}, onSpawn(pid) { record.add('${role}', pid); process.send(pid) } }
await launchRole(options).ready
process.send('ready')
`
  const file = join(t.testdir({ 'main.mjs': MAIN, 'supervisor.mjs': supervisor }), 'supervisor.mjs')
  const child = fork(file, [JSON.stringify({ ...options, role })])
  const [pid] = (await once(child, 'message')) as [number]
  await once(child, 'message')
  child.kill('SIGKILL')
  await once(child, 'exit')
  return { pid, dir }
}

t.test('a role stops by itself when its supervisor is killed', async (t) => {
  const { pid } = await killSupervisorOf(t, 'web')
  await t.resolves(waitUntilGone([pid]))
})

t.test('a role that does not stop by itself is ended by the next start', async (t) => {
  const { pid, dir } = await killSupervisorOf(t, 'stuck')
  t.strictSame(await findAlive([pid]), [pid])
  await createRoleRecord(dir).stopLeftovers()
  // The process has received SIGKILL, and the system may need a moment to remove it.
  await t.resolves(waitUntilGone([pid]))
})
