/** The roles in separate processes. `npm test` builds the command line first. */
import t from 'tap'
import { migrateBroker } from '../../src/broker/open-broker.js'
import { findFreePort } from '../../src/services/embedded/server-process.js'
import { oneLine, spawnTaskwire, startRole } from '../helpers/processes.js'
import { startPostgres } from '../helpers/services.js'

const STOPPED = { code: 0, signal: null }
const REFUSED = { code: 1, signal: null }

t.test('a single role stops in an orderly way, alone and under a supervisor', async (t) => {
  const postgres = await startPostgres(t, { isEmpty: true })
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
  const env = { DATABASE_URL: `postgres://me:secret@127.0.0.1:${await findFreePort()}/x`, PORT: '0' }
  for (const role of ['worker', 'relay', 'web', 'migrate']) {
    const started = spawnTaskwire(t, [role], { env })
    t.strictSame(await started.exited, REFUSED)
    t.match(oneLine(started.output()), /^taskwire: cannot .*PostgreSQL at 127\.0\.0\.1/, role)
    t.notMatch(started.output(), 'secret')
  }
  const missing = spawnTaskwire(t, ['worker'])
  t.strictSame(await missing.exited, REFUSED)
  t.match(oneLine(missing.stderr()), /^taskwire: DATABASE_URL is missing: expected a URL such as postgres:/)
})

t.test('a role on a database that was not migrated says so, instead of failing at each request', async (t) => {
  const postgres = await startPostgres(t, { isEmpty: true })
  await migrateBroker(postgres.url)
  for (const role of ['web', 'worker', 'relay']) {
    const started = spawnTaskwire(t, [role], { env: { DATABASE_URL: postgres.url, PORT: '0' } })
    t.strictSame(await started.exited, REFUSED)
    t.match(oneLine(started.output()), /^taskwire: the database lacks \d+ migrations: run "taskwire migrate"\.$/, role)
  }
})

t.test('the command line explains itself', async (t) => {
  const help = spawnTaskwire(t, ['help'])
  t.strictSame(await help.exited, STOPPED)
  t.match(help.stdout(), /^Usage: taskwire <command>[^]*DATABASE_URL[^]*PORT/)
  const version = spawnTaskwire(t, ['--version'])
  t.strictSame(await version.exited, STOPPED)
  t.match(version.stdout(), /^\d+\.\d+\.\d+\n$/)
  const asked = spawnTaskwire(t, ['start', '--help'])
  t.strictSame(await asked.exited, STOPPED)
  t.equal(asked.stdout(), help.stdout())
  const mistakes: [string[], string][] = [
    [['bake'], 'there is no command bake'],
    [['constructor'], 'there is no command constructor'],
    [[], 'which command?'],
    [['web', '--fast'], 'web takes no --fast'],
    [['types', '--tasks'], 'types takes [--tasks TASKS_DIR], not --tasks'],
  ]
  for (const [args, mistake] of mistakes) {
    const wrong = spawnTaskwire(t, args)
    t.strictSame(await wrong.exited, { code: 2, signal: null })
    t.ok(wrong.stderr().startsWith(`taskwire: ${mistake}\n\nUsage:`), mistake)
  }
})

t.test('a command that cannot reach its database says why in one line', async (t) => {
  const postgres = await startPostgres(t)
  const wrong = new URL(postgres.url)
  wrong.password = 'secret'
  const secret = spawnTaskwire(t, ['webhook-secret'], { env: { DATABASE_URL: wrong.href } })
  t.strictSame(await secret.exited, REFUSED)
  t.match(
    oneLine(secret.output()),
    /^taskwire: cannot use PostgreSQL at 127\.0\.0\.1:\d+\/taskwire: password authentication failed for user "taskwire"$/,
  )
  t.notMatch(secret.output(), '"secret"')
})
