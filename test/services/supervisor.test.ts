import { spawn } from 'node:child_process'
import t from 'tap'
import { createSupervisor, type Launched, type Part } from '../../src/services/supervise/supervisor.js'
import { findAlive } from '../helpers/processes.js'

interface TestPart extends Part {
  /** The process ids of all its launches, oldest first. */
  pids: number[]
  /** Kills the current process. */
  die(): void
}

/** A part that is a real process: `sleep`. `failures` lists the launches, counted from 0, that fail. */
function createPart(name: string, log: string[], failures: number[] = []): TestPart {
  const pids: number[] = []
  return {
    name,
    pids,
    die: () => process.kill(pids.at(-1) ?? 0, 'SIGKILL'),
    launch(): Launched {
      const child = spawn('sleep', ['60'], { stdio: 'ignore' })
      const exited = new Promise<string>((resolve) => child.once('exit', (_, signal) => resolve(String(signal))))
      const fails = failures.includes(pids.push(child.pid ?? 0) - 1)
      if (fails) child.kill()
      const end = async (signal: NodeJS.Signals) => {
        child.kill(signal)
        await exited
        log.push(`${name} ${signal}`)
      }
      const ready = fails ? Promise.reject(new Error(`${name} is out of order`)) : Promise.resolve()
      return { ready, exited, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') }
    },
  }
}

/** A supervisor, its messages, and a function that waits for a message. */
function createTestSupervisor(options: { forgiveAfterMs?: number; firstPauseMs?: number; maxPauseMs?: number } = {}) {
  const said: string[] = []
  const waiting = new Set<() => void>()
  const say = (line: string) => {
    said.push(line)
    for (const look of waiting) look()
  }
  const heard = (pattern: RegExp, count = 1) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (said.filter((line) => pattern.test(line)).length < count) return
        waiting.delete(look)
        resolve()
      }
      waiting.add(look)
      look()
    })
  return { said, heard, supervisor: createSupervisor({ say, firstPauseMs: 20, maxPauseMs: 60, ...options }) }
}

t.test('a part that dies is reported and restarted after a growing pause', async (t) => {
  const { supervisor, said, heard } = createTestSupervisor()
  const part = createPart('clock', [])
  await supervisor.add(part)
  for (const count of [1, 2, 3, 4]) {
    part.die()
    await heard(/^clock runs again$/, count)
  }
  t.strictSame(
    said.filter((line) => line.includes('ended')),
    [0.02, 0.04, 0.06, 0.06].map((pause) => `clock ended (SIGKILL); trying again in ${pause} s`),
  )
  await supervisor.stop()
  t.strictSame(await findAlive(part.pids), [])
})

t.test('the pause is reset once a part has stayed up long enough', async (t) => {
  const { supervisor, said, heard } = createTestSupervisor({ forgiveAfterMs: 0 })
  const part = createPart('clock', [])
  await supervisor.add(part)
  for (const count of [1, 2]) {
    part.die()
    await heard(/runs again/, count)
  }
  t.strictSame(said.filter((line) => line.includes('in 0.02 s')).length, 2)
  await supervisor.stop()
})

t.test('a part that fails to restart is tried again', async (t) => {
  const { supervisor, said, heard } = createTestSupervisor()
  const part = createPart('clock', [], [1, 2])
  await supervisor.add(part)
  part.die()
  await heard(/runs again/)
  t.match(said, [
    /^clock ended/,
    /^clock does not start \(clock is out of order\); trying again in 0.04 s$/,
    /does not start/,
    /runs again/,
  ])
  await supervisor.stop()
})

t.test('a restarted part is stopped and launched at once, and its end is not reported', async (t) => {
  const { supervisor, said, heard } = createTestSupervisor()
  const log: string[] = []
  const part = createPart('clock', log)
  await supervisor.add(part)
  for (const count of [1, 2]) {
    await supervisor.restart('clock')
    await heard(/^clock runs again$/, count)
  }
  t.strictSame(said, ['clock runs again', 'clock runs again'])
  t.strictSame(log, ['clock SIGTERM', 'clock SIGTERM'])
  t.equal(part.pids.length, 3)
  await supervisor.stop()
  await supervisor.restart('clock')
  t.strictSame(await findAlive(part.pids), [], 'a restart after the stop does nothing')
})

t.test('a restart ends the pause after a death', async () => {
  const { supervisor, heard } = createTestSupervisor({ firstPauseMs: 3_600_000, maxPauseMs: 3_600_000 })
  const part = createPart('clock', [])
  await supervisor.add(part)
  part.die()
  await heard(/^clock ended/)
  await supervisor.restart('clock')
  await heard(/^clock runs again$/)
  await supervisor.stop()
})

t.test('add rejects when a part never comes up', async (t) => {
  const { supervisor, said } = createTestSupervisor()
  const part = createPart('clock', [], [0])
  await t.rejects(supervisor.add(part), { message: 'clock is out of order' })
  await supervisor.stop()
  t.strictSame(said, [])
  t.equal(part.pids.length, 1)
})

t.test('parts are stopped one after another, the last one first, and none is restarted', async (t) => {
  const { supervisor, said } = createTestSupervisor()
  const log: string[] = []
  for (const name of ['database', 'worker', 'web']) await supervisor.add(createPart(name, log))
  await Promise.all([supervisor.stop(), supervisor.stop()])
  t.strictSame(log, ['web SIGTERM', 'worker SIGTERM', 'database SIGTERM'])
  t.strictSame(said, [])
  await t.rejects(supervisor.add(createPart('late', log)))
})

t.test('a part that ends by itself during a stop is neither reported nor restarted', async (t) => {
  const { supervisor, said } = createTestSupervisor()
  const first = createPart('first', [])
  const last = createPart('last', [])
  await supervisor.add(first)
  // Imitates a signal to the whole process group: the first part dies while the last one is being stopped.
  const lastLaunch = last.launch
  await supervisor.add({
    name: last.name,
    launch() {
      const launched = lastLaunch()
      return {
        ...launched,
        async stop() {
          first.die()
          while ((await findAlive(first.pids)).length > 0) await new Promise((resolve) => setTimeout(resolve, 5))
          await launched.stop()
        },
      }
    },
  })
  await supervisor.stop()
  t.equal(first.pids.length, 1)
  t.strictSame(said, [])
})

t.test('a part in its pause is not started after a stop', async (t) => {
  const { supervisor, heard } = createTestSupervisor()
  const part = createPart('clock', [])
  await supervisor.add(part)
  part.die()
  await heard(/ended/)
  await supervisor.stop()
  const leewayMs = 100
  await new Promise((resolve) => setTimeout(resolve, leewayMs))
  t.equal(part.pids.length, 1)
})

t.test('a kill cuts an orderly stop short', async (t) => {
  const { supervisor } = createTestSupervisor()
  const log: string[] = []
  const part = createPart('clock', log)
  const stubborn: Part = {
    name: 'stubborn',
    launch() {
      const launched = part.launch()
      return { ...launched, stop: () => launched.exited.then(() => {}) }
    },
  }
  await supervisor.add(stubborn)
  const stopped = supervisor.stop()
  await supervisor.kill()
  await stopped
  t.strictSame(log, ['clock SIGKILL'])
})
