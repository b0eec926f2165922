/** The lifetime of the handlers' processes. Uses the built pool, which forks a built module. */
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import t from 'tap'
import type { ClaimedAttempt } from '../../src/store/attempts/claim.js'
import type * as pool from '../../src/worker/isolation/pool.js'
import { newTask } from '../helpers/database.js'
import { copyTasks } from '../helpers/processes.js'
import type { TestScope } from '../helpers/services.js'

const built = new URL('../../dist/worker/isolation/pool.js', import.meta.url)
const { Pool } = (await import(built.href)) as typeof pool
const recorder: pool.PoolOptions['recorder'] = { progress() {}, log() {}, announce() {}, flush: async () => {} }
/** No test here uses the database. */
const env = {
  ...process.env,
  TASKS_DIR: await copyTasks(t, 'isolated'),
  DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
}

const quiet = {
  signal: new AbortController().signal,
  begin() {},
  alive() {},
  endsWorkers() {},
  memoryLimitMb: undefined,
  isSuspect: false,
  isFresh: false,
  mayBlock: true,
}

function open(t: TestScope, options: Partial<pool.PoolOptions>) {
  const pool = new Pool({ recorder, log: pino({ level: 'silent' }), env, ...options })
  t.teardown(() => pool.stop())
  return async (ms = 0): Promise<number> => {
    const claimed = { ...newTask({ type: 'test.pid', payload: { ms } }), attempt: 1 } as unknown as ClaimedAttempt
    const { ended } = pool.start({ claimed, ...quiet })
    const end = await ended
    return end.kind === 'returned' ? (end.result as number) : Number.NaN
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function untilGone(pids: readonly number[]): Promise<void> {
  while (pids.some(isAlive)) await sleep(20)
}

t.test('a process is replaced after its number of runs', async (t) => {
  const run = open(t, { maxRuns: 2 })
  const pids = []
  for (let count = 0; count < 5; count += 1) pids.push(await run())
  const [first = 0, , second = 0, , third = 0] = pids
  t.same(pids, [first, first, second, second, third])
  t.equal(new Set(pids).size, 3)
  await untilGone([first, second])
  t.ok(isAlive(third))
})

t.test('one process per processor stays warm, and only one after a while without work', async (t) => {
  const run = open(t, { idleMs: 500, maxProcesses: availableParallelism() + 1 })
  const many = availableParallelism() + 1
  const together = () => Promise.all(Array.from({ length: many }, () => run(200)))
  const first = await together()
  t.equal(new Set(first).size, many, 'each run has its own process')
  const second = await together()
  t.equal(second.filter((pid) => first.includes(pid)).length, many - 1, 'all processes but the surplus one are reused')
  const all = [...new Set([...first, ...second])]
  while (all.filter(isAlive).length > 1) await sleep(20)
  await sleep(600)
  t.equal(all.filter(isAlive).length, 1)
  t.ok(all.includes(await run()), 'the warm process is used')
})

t.test('the number of processes is bounded: further runs wait, and their time limits do not start', async (t) => {
  const pool = new Pool({ recorder, log: pino({ level: 'silent' }), env, maxProcesses: 2 })
  t.teardown(() => pool.stop())
  let begun = 0
  const start = async (signal = quiet.signal) => {
    const claimed = { ...newTask({ type: 'test.pid', payload: { ms: 50 } }), attempt: 1 } as unknown as ClaimedAttempt
    const begin = () => void (begun += 1)
    const { ended } = pool.start({ ...quiet, claimed, signal, begin })
    const end = await ended
    return end.kind === 'returned' ? end.result : undefined
  }
  const controller = new AbortController()
  const runs = Array.from({ length: 6 }, () => start())
  const aborted = start(controller.signal)
  controller.abort(new Error('cancelled'))
  await t.rejects(aborted, { message: 'cancelled' }, 'a waiting run can be aborted')
  t.equal(begun, 0)
  const pids = await Promise.all(runs)
  t.equal(begun, 6)
  t.equal(new Set(pids).size, 2)
})
