import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { askRedis, findRedisServer, startRedis, type RedisOptions } from '../../src/services/embedded/redis.js'
import { findDefaultUser } from '../../src/services/embedded/service-user.js'
import { findAlive } from '../helpers/processes.js'
import type { TestScope } from '../helpers/services.js'

const user = await findDefaultUser()
const program = await findRedisServer()
const skip = program === undefined && 'there is no redis-server or valkey-server here'
const parent = await mkdtemp(join(tmpdir(), 'taskwire-test-'))
await chmod(parent, 0o755)
const folder = join(parent, 'redis')
t.teardown(() => rm(parent, { recursive: true, force: true }))

async function startHere(t: TestScope, options: Partial<RedisOptions> = {}) {
  const server = await startRedis({ program: program ?? '', folder, user, ...options })
  t.teardown(() => server.kill())
  const { password } = new URL(server.url)
  return { ...server, password, ask: (command: string) => askRedis(server.port, password, command) }
}

t.test('it requires its password, which no command line shows', { skip }, async (t) => {
  const server = await startHere(t)
  t.equal(await server.ask('PING'), '+PONG')
  await t.rejects(askRedis(server.port, 'guess', 'PING'))
  t.equal((await stat(join(folder, 'redis.conf'))).mode & 0o777, 0o600)
  t.notMatch(await readFile(`/proc/${server.pid}/cmdline`, 'utf8').catch(() => ''), server.password)
})

t.test('a killed server keeps its data and its URL', { skip }, async (t) => {
  const first = await startHere(t)
  t.equal(await first.ask('SET kept 42'), '+OK')
  process.kill(first.pid, 'SIGKILL')
  await first.exited
  const second = await startHere(t, { port: first.port })
  t.equal(second.url, first.url)
  t.equal(await second.ask('STRLEN kept'), ':2')
})

t.test('it never drops keys to make room', { skip }, async (t) => {
  const server = await startHere(t)
  t.equal(await server.ask('CONFIG SET maxmemory 1'), '+OK')
  t.match(await server.ask('SET more 1'), /^-OOM/)
})

t.test('a server left over by a killed supervisor is stopped first, even when it is frozen', { skip }, async (t) => {
  for (const isFrozen of [false, true]) {
    const left = await startHere(t)
    if (isFrozen) process.kill(left.pid, 'SIGSTOP')
    const server = await startHere(t)
    t.strictSame(await findAlive([left.pid]), [])
    t.equal(await server.ask('STRLEN kept'), ':2')
    await server.stop()
  }
})

t.test('damaged data is reported in one clear line that says what to do', { skip }, async (t) => {
  const files = join(folder, 'appendonlydir')
  const base = (await readdir(files)).find((name) => name.endsWith('.incr.aof')) ?? ''
  await writeFile(join(files, base), 'this is not a log of commands\r\n')
  await t.rejects(startHere(t), {
    name: 'StartupError',
    message: /^Redis does not start: .* delete \S+redis; no tasks are lost\.$/,
  })
})

t.test('it is found on PATH, under either name, when it runs and is new enough', async (t) => {
  const program = (version: string) => `#!/bin/sh\necho "server v=${version} sha=00000000:0"\n`
  const dir = t.testdir({
    notProgram: { 'redis-server': program('7.2.0') },
    broken: { 'redis-server': '#!/bin/false\n' },
    old: { 'redis-server': program('6.0.16') },
    redis: { 'redis-server': program('6.2.0') },
    valkey: { 'valkey-server': program('8.0.1') },
  })
  for (const file of ['broken/redis-server', 'old/redis-server', 'redis/redis-server', 'valkey/valkey-server'])
    await chmod(join(dir, file), 0o755)
  const find = (...folders: string[]) => findRedisServer(folders.map((folder) => join(dir, folder)).join(':'))
  t.equal(await find('notProgram', 'broken', 'old', 'redis'), join(dir, 'redis/redis-server'))
  t.equal(await find('old', 'valkey'), join(dir, 'valkey/valkey-server'))
  t.equal(await find('notProgram', 'broken', 'old', 'missing'), undefined)
  t.equal(await findRedisServer(''), undefined)
})
