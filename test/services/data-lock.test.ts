import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { lockDataDir } from '../../src/services/embedded/data-lock.js'

const LOCK = new URL('../../dist/services/embedded/data-lock.js', import.meta.url).href

/** Creates a data folder whose path is short enough for a socket in it. */
async function makeDataDir(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'taskwire-lock-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/** Starts a process that holds the lock until it is killed. */
async function holdElsewhere(t: Test, dataDir: string) {
  const script = `const { lockDataDir } = await import('${LOCK}'); await lockDataDir(process.argv[2]); process.send('held'); setInterval(() => {}, 1000)`
  const main = join(t.testdir({ 'hold.mjs': script }), 'hold.mjs')
  const child = fork(main, [dataDir])
  t.teardown(() => child.kill('SIGKILL'))
  await once(child, 'message')
  return child
}

t.test('a second start on the folder is refused, and the error names the holder', async (t) => {
  const dir = await makeDataDir(t)
  const lock = await lockDataDir(dir)
  t.teardown(() => lock.release())
  await t.rejects(lockDataDir(dir), {
    name: 'StartupError',
    message: new RegExp(`^another start \\(process ${process.pid}\\) is already running on`),
  })
})

t.test('a released lock can be taken', async (t) => {
  const dir = await makeDataDir(t)
  await (await lockDataDir(dir)).release()
  const lock = await lockDataDir(dir)
  await lock.release()
})

t.test('the lock of a killed process blocks no start', async (t) => {
  const dir = await makeDataDir(t)
  const holder = await holdElsewhere(t, dir)
  await t.rejects(lockDataDir(dir), { message: new RegExp(`process ${holder.pid}`) })
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  const lock = await lockDataDir(dir)
  await lock.release()
})

t.test('the lock of a frozen process still holds', async (t) => {
  const dir = await makeDataDir(t)
  const holder = await holdElsewhere(t, dir)
  holder.kill('SIGSTOP')
  await t.rejects(lockDataDir(dir), { message: /^another start is already running/ })
})

t.test('of several starts that find a stale lock at once, exactly one gets it', async (t) => {
  const dir = await makeDataDir(t)
  const holder = await holdElsewhere(t, dir)
  holder.kill('SIGKILL')
  await once(holder, 'exit')
  const results = await Promise.allSettled([1, 2, 3].map(() => lockDataDir(dir)))
  const locks = results.filter((result) => result.status === 'fulfilled')
  t.equal(locks.length, 1)
  for (const { value } of locks) await value.release()
})

t.test('a folder with a long path has a lock too', async (t) => {
  const dir = join(await makeDataDir(t), 'x'.repeat(120))
  await mkdir(dir)
  const lock = await lockDataDir(dir)
  await t.rejects(lockDataDir(dir), /is already running/)
  await lock.release()
})
