/** Checks the image and docker-compose.yml against the code, and runs their scripts against real servers. */
import { execFile, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { describeConfig, loadConfig } from '../src/config.js'
import { migrateDatabase } from '../src/db/migrate.js'
import { APPLICATION, SUPERUSER } from '../src/services/embedded/application-role.js'
import { askRedis, findRedisServer } from '../src/services/embedded/redis.js'
import { findFreePort } from '../src/services/embedded/server-process.js'
import { startPostgres } from './helpers/services.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const run = promisify(execFile)
const image = read('Dockerfile')

interface Service {
  image?: string
  command?: string[]
  entrypoint?: string[]
  environment?: Record<string, string>
  volumes?: string[]
  ports?: string[]
  depends_on?: Record<string, { condition: string }>
}
const text = read('docker-compose.yml')
const { services } = parse(text, { merge: true }) as { services: Record<string, Service> }
const roles = ['migrate', 'web', 'worker', 'relay'].map((name) => services[name] ?? {})

// Checked before the first test, because tap does not count a test that starts after the others have ended.
const hasPsql = await run('psql', ['--version']).then(
  () => true,
  () => false,
)
const redisServer = await findRedisServer()

t.test('the services are given only settings that exist', async (t) => {
  const known = describeConfig().flatMap(({ name }) => [name, `${name}_FILE`])
  for (const { environment = {} } of roles) {
    t.ok(Object.keys(environment).length > 2)
    t.strictSame(
      Object.keys(environment).filter((name) => !known.includes(name)),
      [],
    )
  }
})

t.test('the default folders of settings belong to the user of the image', async (t) => {
  const folders = describeConfig()
    .map(({ default: initial }) => initial)
    .filter((initial) => initial.startsWith('.taskwire'))
  t.ok(folders.length > 1)
  t.match(image, /chown node .*\.taskwire\b[^]*\nUSER node/)
})

t.test(
  'no password is written down, and only the port of the web role is published, on this machine only',
  async (t) => {
    t.notMatch(text, /PASSWORD:|:\/\/[^/\s]*:[^/\s]*@|requirepass/)
    t.strictSame(
      Object.entries(services)
        .filter(([, { ports }]) => ports !== undefined)
        .map(([name]) => name),
      ['web'],
    )
    t.strictSame(services['web']?.ports, ['127.0.0.1:3000:3000'])
  },
)

t.test('a secret is mounted only where it is needed, and written only where it is created', async (t) => {
  const mounts = Object.entries(services).flatMap(([name, { volumes = [] }]) =>
    volumes.map((volume) => ({ name, volume })),
  )
  const readers = (secret: string) =>
    mounts
      .filter(({ name, volume }) => name !== 'secrets' && volume.startsWith(secret))
      .map(({ name }) => name)
      .sort()
  t.strictSame(readers('superuser-secret'), ['database-role', 'postgres'])
  t.strictSame(readers('database-secret'), ['database-role', 'migrate', 'relay', 'web', 'worker'])
  t.strictSame(readers('redis-secret'), ['migrate', 'redis', 'relay', 'web', 'worker'])
  t.strictSame(
    mounts.filter(({ name, volume }) => name !== 'secrets' && volume.includes('-secret:') && !volume.endsWith(':ro')),
    [],
  )
  t.strictSame(services['postgres']?.depends_on, { secrets: { condition: 'service_completed_successfully' } })
  t.match(services['migrate']?.depends_on, { 'database-role': { condition: 'service_completed_successfully' } })
})

/** The value that compose uses if the variable is not set. */
function readDefault(value: string): string {
  return value.replace(/\$\{\w+:-([^}]*)\}/g, '$1')
}

/** Runs the script of a service as its container would, with the given folder instead of /secrets. */
async function runScript(name: string, args: string[], env: Record<string, string> = {}) {
  const [shell = '', script = ''] = services[name]?.entrypoint ?? []
  return run(shell, [script.replace(/^\//, ''), ...args], { cwd: root, env: { PATH: process.env['PATH'], ...env } })
}

/** Creates the folder of secrets as the first `up` does. */
async function makeSecrets(t: Test): Promise<string> {
  const folder = t.testdir({ superuser: {}, database: {}, redis: {} })
  await runScript('secrets', [folder])
  return folder
}

t.test('secrets are created once, differ, and are never printed', async (t) => {
  const folder = await makeSecrets(t)
  const secret = (path: string) => readFileSync(join(folder, path), 'utf8').trim()
  const passwords = ['superuser', 'database', 'redis'].map((name) => secret(`${name}/password`))
  for (const password of passwords) t.match(password, /^[0-9a-f]{48}$/)
  t.equal(new Set(passwords).size, 3)
  // These files are read by root, by the Redis user and by the user of the image.
  for (const file of ['superuser/password', 'database/url', 'redis/redis.conf'])
    t.equal(statSync(join(folder, file)).mode & 0o777, 0o644)
  const env = Object.fromEntries(
    Object.entries(roles[1]?.environment ?? {}).map(([name, value]) => [
      name,
      readDefault(value).replace(/^\/secrets/, folder),
    ]),
  )
  t.match(loadConfig('web', env), {
    databaseUrl: `postgres://taskwire:${passwords[1]}@postgres:5432/taskwire`,
    redisUrl: `redis://:${passwords[2]}@redis:6379`,
  })

  rmSync(join(folder, 'database/url'))
  writeFileSync(join(folder, 'database/url.new'), 'half')
  const { stdout, stderr } = await runScript('secrets', [folder])
  t.equal(stdout + stderr, '')
  t.strictSame(
    ['superuser', 'database', 'redis'].map((name) => secret(`${name}/password`)),
    passwords,
  )
  t.match(secret('database/url'), passwords[1])
  t.strictSame(readdirSync(join(folder, 'database')).sort(), ['password', 'url'])
})

t.test('a password whose file was deleted is replaced everywhere, and the others are kept', async (t) => {
  const folder = await makeSecrets(t)
  const secret = (path: string) => readFileSync(join(folder, path), 'utf8').trim()
  for (const [changed, others, files] of [
    ['redis', ['superuser', 'database'], ['url', 'redis.conf']],
    ['database', ['superuser', 'redis'], ['url']],
  ] as const) {
    const before = secret(`${changed}/password`)
    const kept = others.map((name) => secret(`${name}/password`))
    rmSync(join(folder, changed, 'password'))
    await runScript('secrets', [folder])
    const after = secret(`${changed}/password`)
    t.match(after, /^[0-9a-f]{48}$/)
    t.not(after, before)
    for (const file of files)
      t.ok(
        secret(`${changed}/${file}`).includes(after) && !secret(`${changed}/${file}`).includes(before),
        `${changed}/${file}`,
      )
    t.strictSame(
      others.map((name) => secret(`${name}/password`)),
      kept,
    )
  }
})

t.test('Redis always requires the password in its file', async (t) => {
  const folder = await makeSecrets(t)
  for (const password of ['by-hand', 'a "quoted\\one', "with 'these' # too"]) {
    writeFileSync(join(folder, 'redis/password'), `${password}\n`)
    await runScript('secrets', [folder])
    t.equal(
      readFileSync(join(folder, 'redis/redis.conf'), 'utf8'),
      `requirepass "${password.replace(/["\\]/g, '\\$&')}"\n`,
    )
  }
})

if (!hasPsql) t.comment('no psql on this machine: the test of the role that docker compose creates is skipped')
else {
  t.test('the database role is created in a new volume and in one of an earlier version', async (t) => {
    for (const { kind, before } of [
      { kind: 'new', before: `alter role ${SUPERUSER} rename to postgres` },
      {
        kind: 'of an earlier version',
        before: `drop role ${APPLICATION}; alter role ${SUPERUSER} rename to ${APPLICATION}; alter role ${APPLICATION} password 'taskwire'`,
      },
    ]) {
      const server = await startPostgres(t, { isEmpty: true })
      const folder = await makeSecrets(t)
      const secret = (name: string) => readFileSync(join(folder, name, 'password'), 'utf8').trim()
      const admin = new URL(server.adminUrl)
      await use(admin.href, [
        'create role helper superuser login',
        `alter database taskwire owner to ${SUPERUSER}; reassign owned by ${APPLICATION} to ${SUPERUSER}; drop owned by ${APPLICATION}`,
        `create table kept as select 42 as answer`,
        `set session authorization helper; ${before}`,
      ])
      if (kind === 'new') {
        admin.username = 'postgres'
        await use(admin.href, [
          `alter role postgres password '${secret('superuser')}'; drop role if exists ${APPLICATION}`,
        ])
      }
      const env = {
        SECRETS_DIR: folder,
        SQL_DIR: join(root, 'drizzle/roles'),
        PGHOST: '127.0.0.1',
        PGPORT: String(server.port),
      }
      for (const time of [1, 2]) {
        const { stdout, stderr } = await runScript('database-role', [], env)
        t.equal(stdout + stderr, 'database-role: taskwire owns its database\n', `${kind}, time ${time}`)
      }
      const url = `postgres://${APPLICATION}:${secret('database')}@127.0.0.1:${server.port}/taskwire`
      await migrateDatabase(url)
      t.same(
        await use(url, [
          'select (select rolsuper from pg_roles where rolname = current_user) as super, answer from kept',
        ]),
        [{ super: false, answer: 42 }],
      )
      for (const wrong of ['taskwire:taskwire', 'taskwire_superuser:taskwire', 'postgres:taskwire'])
        await t.rejects(use(url.replace(/\/\/[^@]*/, `//${wrong}`), ['select 1']), { code: '28P01' })
      rmSync(join(folder, 'superuser/password'))
      writeFileSync(join(folder, 'superuser/password'), 'lost')
      await t.rejects(runScript('database-role', [], env), {
        code: 1,
        stderr: /^database-role: cannot log in .*operations\.md\.\n$/,
      })
    }
  })
}

async function use(url: string, statements: readonly string[]) {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    let rows: unknown[] = []
    for (const statement of statements) rows = [...(await sql.unsafe(statement))]
    return rows
  } finally {
    await sql.end()
  }
}

if (redisServer === undefined) t.comment('no redis-server on this machine: the test of its password is skipped')
else {
  t.test('Redis accepts its command and requires its password, and its health check uses it', async (t) => {
    const folder = await makeSecrets(t)
    writeFileSync(join(folder, 'redis/password'), 'by"hand\\1\n')
    await runScript('secrets', [folder])
    const password = JSON.stringify('by"hand\\1')
    const port = await findFreePort()
    const [, ...args] = services['redis']?.command ?? []
    const data = join(folder, 'data')
    mkdirSync(data)
    const flags = [
      ...args.map((arg) => arg.replace(/^\/secrets/, folder)),
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      data,
    ]
    const server = spawn(redisServer, flags, { stdio: 'ignore' })
    t.teardown(() => server.kill('SIGKILL'))
    while ((await askRedis(port, password, 'PING').catch(() => '')) === '')
      await new Promise((resolve) => setTimeout(resolve, 20))
    t.equal(await askRedis(port, password, 'PING'), '+PONG')
    await t.rejects(askRedis(port, 'guess', 'PING'))
    t.match(await askRedis(port, password, 'CONFIG GET maxmemory-policy'), /^\*2/)
    t.equal(readFileSync(`/proc/${server.pid}/cmdline`, 'utf8').includes(password), false)
    const [, check = ''] = (services['redis'] as { healthcheck?: { test: string[] } }).healthcheck?.test ?? []
    const shell = check
      .replaceAll('$$', '$')
      .replaceAll('/secrets', folder)
      .replace('redis-cli', `redis-cli -p ${port}`)
    await t.resolves(run('sh', ['-c', shell]))
    await t.rejects(run('sh', ['-c', shell.replace('redis/password', 'database/password')]))
  })
}
