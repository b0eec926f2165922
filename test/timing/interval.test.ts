import { mock } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { startInterval } from '../../src/timing/interval.js'

const EVERY_MS = 1_000

/** @returns a function that lets this many intervals pass, with the callbacks of each */
function fakeTime(t: { teardown(action: () => void): void }) {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  return async (turns = 1) => {
    for (let turn = 0; turn < turns; turn += 1) {
      mock.timers.tick(EVERY_MS)
      await nextTurn()
    }
  }
}

const throwIt = (error: unknown) => {
  throw error
}

t.test('it runs after each interval until it is stopped, first after one interval', async (t) => {
  const pass = fakeTime(t)
  let runs = 0
  const interval = startInterval(() => (runs += 1), { everyMs: EVERY_MS, onError: throwIt })
  await nextTurn()
  t.equal(runs, 0)
  await pass(3)
  t.equal(runs, 3)
  interval.stop()
  interval.stop()
  await pass(3)
  t.equal(runs, 3)
})

t.test('one run at a time: turns during a run are skipped and not made up for', async (t) => {
  const pass = fakeTime(t)
  const ends: (() => void)[] = []
  const interval = startInterval(() => new Promise<void>((resolve) => ends.push(resolve)), {
    everyMs: EVERY_MS,
    onError: throwIt,
  })
  t.teardown(() => interval.stop())
  await pass(5)
  t.equal(ends.length, 1)
  ends[0]?.()
  await nextTurn()
  t.equal(ends.length, 1, 'the next run begins at the next interval')
  await pass()
  t.equal(ends.length, 2)
})

t.test('errors of a run go to the callback, and the next run still happens', async (t) => {
  const pass = fakeTime(t)
  const errors: unknown[] = []
  let runs = 0
  function run() {
    runs += 1
    if (runs === 1) throw new Error('thrown')
    return runs === 2 ? Promise.reject(new Error('rejected')) : undefined
  }
  const interval = startInterval(run, { everyMs: EVERY_MS, onError: (error) => errors.push((error as Error).message) })
  t.teardown(() => interval.stop())
  await pass(3)
  t.equal(runs, 3)
  t.same(errors, ['thrown', 'rejected'])
})

t.test('a run in progress at the stop finishes', async (t) => {
  const pass = fakeTime(t)
  let end = () => {}
  let hasEnded = false
  const run = () => new Promise<void>((resolve) => (end = resolve)).then(() => (hasEnded = true))
  const interval = startInterval(run, { everyMs: EVERY_MS, onError: throwIt })
  await pass()
  interval.stop()
  end()
  await nextTurn()
  t.ok(hasEnded)
})
