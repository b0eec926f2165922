/** A canary in each variable that is marked as secret: no command, log or answer prints it. */
import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { promisify } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { describeConfig, isSecretVariable, loadConfig, type Role } from '../src/config.js'
import { createLog } from '../src/log.js'
import { createRedactor } from '../src/secrets.js'
import { atDepth } from './helpers/depth.js'
import { MAIN } from './helpers/processes.js'

// Allows for the full counts on a slow machine.
t.setTimeout(900_000)

const CANARY = 'cAnArY-7f3a'
const SECRETS = describeConfig()
  .map(({ name }) => name)
  .filter(isSecretVariable)
const ROLES: Role[] = ['start', 'web', 'worker', 'relay', 'migrate', 'types']
const COMMANDS = [
  'start',
  'web',
  'worker',
  'relay',
  'migrate',
  'webhook-secret',
  'types',
  'doctor',
  'health',
  'help',
  '--help',
  '--version',
]

/** Values that contain the canary, and that no variable accepts. */
const MALFORMED = [
  CANARY,
  `whsec_${CANARY}`,
  `postgres:${CANARY}`,
  `postgres://${CANARY}:x`,
  `postgres://user:${CANARY}`,
  `postgres://user:1/${CANARY}@host/db`,
  `postgres://user:1?${CANARY}@host/db`,
  `postgres://user:1#${CANARY}@host/db`,
  `postgres://user:%zz${CANARY}@host/db`,
  `postgres://user:%ff${CANARY}@host/db`,
  `postgres://user:${CANARY}@`,
  `mysql://user:${CANARY}@host/db`,
  `${CANARY}://host`,
  `redis://:${CANARY}`,
  `redis://:${CANARY}@host/jobs`,
  `redis://host:99999/${CANARY}`,
  `smtp://user:${CANARY} x@`,
  `http://${CANARY}`,
  `host=db password=${CANARY}`,
  ` ${CANARY}\n`,
  `"${CANARY}"`,
  `user:${CANARY}@host/db`,
]

t.test('the variables that hold secrets are marked', async (t) => {
  t.strictSame([...SECRETS].sort(), ['DATABASE_URL', 'REDIS_URL', 'SMTP_URL', 'WEBHOOK_SECRET'])
  t.strictSame(
    describeConfig()
      .map(({ name }) => name)
      .filter((name) => /SECRET|PASSWORD|TOKEN|_URL$/.test(name) && !isSecretVariable(name)),
    [],
  )
})

const messageOf = (role: Role, env: Record<string, string>): string => {
  try {
    loadConfig(role, env)
    return ''
  } catch (error) {
    return `${String(error)} ${JSON.stringify(error)} ${(error as Error).stack}`
  }
}

t.test('no role prints a malformed secret, whatever it is', async (t) => {
  const text = fc.oneof(
    fc.constantFrom(...MALFORMED),
    fc
      .tuple(fc.string({ unit: 'grapheme', maxLength: 12 }), fc.string({ unit: 'binary', maxLength: 6 }))
      .map(([before, after]) => `${before}${CANARY}${after}`),
  )
  fc.assert(
    fc.property(
      fc.constantFrom(...ROLES),
      fc.constantFrom(...SECRETS),
      text,
      (role, name, value) => !messageOf(role, { [name]: value }).includes(CANARY),
    ),
    { numRuns: atDepth(2_000, 20_000) },
  )
  for (const value of MALFORMED)
    for (const name of SECRETS)
      t.match(
        messageOf('start', { [name]: value }),
        `${name} is wrong (its value is not shown): expected`,
        `${name}=${value} is refused`,
      )
})

async function runCommand(args: readonly string[], env: Record<string, string>): Promise<string> {
  const { PATH = '', HOME = '' } = process.env
  const run = promisify(execFile)(process.execPath, [MAIN, ...args], {
    env: { PATH, HOME, ...env },
    timeout: 60_000,
    cwd: tmpdir(),
  })
  const { stdout, stderr } = await run.catch((error: { stdout: string; stderr: string }) => error)
  return stdout + stderr
}

t.test('no command prints malformed secrets', { timeout: 600_000 }, async (t) => {
  for (const [index, command] of COMMANDS.entries()) {
    for (let round = 0; round < atDepth(1, 2); round++) {
      const env = Object.fromEntries(
        SECRETS.map((name, place) => [name, MALFORMED[(index * 5 + place * 3 + round) % MALFORMED.length] ?? CANARY]),
      )
      const output = await runCommand([command], env)
      t.notMatch(output, CANARY, `${command} ${JSON.stringify(env)}`)
      t.not(output, '', `${command} says something`)
    }
  }
})

t.test('no command prints the password of an unreachable server', { timeout: 600_000 }, async (t) => {
  const env = {
    DATABASE_URL: `postgres://user:${CANARY}@127.0.0.1:1/db`,
    REDIS_URL: `redis://:${CANARY}@127.0.0.1:1`,
    SMTP_URL: `smtp://user:${CANARY}@127.0.0.1:1`,
  }
  for (const command of ['start', 'doctor', 'health', 'worker', 'migrate', 'webhook-secret'].slice(0, atDepth(3, 6))) {
    const output = await runCommand([command], env)
    t.notMatch(output, CANARY, command)
    t.match(output, /127\.0\.0\.1:1/, `${command} names the server`)
  }
})

t.test('the log masks secrets that libraries attach to their errors', async (t) => {
  const before = process.env['REDIS_URL']
  t.teardown(() => (before === undefined ? delete process.env['REDIS_URL'] : (process.env['REDIS_URL'] = before)))
  process.env['REDIS_URL'] = `redis://user:${CANARY}%22%5C@host:6379`
  const lines: string[] = []
  const log = createLog({ name: 'test', level: 'info' }, { write: (line) => void lines.push(line) })
  const password = `${CANARY}"\\`
  log.warn(
    {
      err: Object.assign(new Error(`WRONGPASS ${password}`), {
        command: { name: 'auth', args: ['default', password] },
      }),
    },
    'failed',
  )
  log.warn({ url: process.env['REDIS_URL'], nested: { password } }, `cannot reach ${process.env['REDIS_URL']}`)
  t.equal(lines.length, 2)
  for (const line of lines) {
    t.notMatch(line, CANARY)
    t.doesNotThrow(() => void JSON.parse(line), 'the log line is still JSON')
  }
  t.notMatch(lines[0], '"command"')
})

t.test('a wrong value that is short, blank or a common word leaves the rest of a message readable', async (t) => {
  for (const value of [' ', '      ', 'a', 'is', 'postgres', 'secret']) {
    const message = 'taskwire: DATABASE_URL is wrong (its value is not shown): postgres, or a secret      of Redis'
    t.equal(createRedactor({ DATABASE_URL: value, WEBHOOK_SECRET: value })(message), message, value)
  }
  t.equal(createRedactor({ WEBHOOK_SECRET: 'abc-def' })('it is abc-def'), 'it is ***')
})

t.test('a password that is a common word is masked in URLs, and the word stays elsewhere', async (t) => {
  const hide = createRedactor({ DATABASE_URL: 'postgres://taskwire:taskwire@db:5432/taskwire' })
  t.equal(
    hide('taskwire: cannot use postgres://taskwire:taskwire@db:5432/taskwire or taskwire:taskwire@x'),
    'taskwire: cannot use *** or ***x',
  )
})
