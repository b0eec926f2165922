import t from 'tap'
import { growingPauseMs } from '../../src/timing/pause.js'
import { retry } from '../../src/timing/retry.js'

const AT_ONCE = { firstMs: 0, maxMs: 0 }
const LONG = { firstMs: 3_600_000, maxMs: 3_600_000 }

/** Work that fails this many times before it succeeds. */
function failing(times: number) {
  let tries = 0
  const work = async () => {
    tries += 1
    if (tries <= times) throw new Error(`try ${tries}`)
    return 'answer'
  }
  return { work, countTries: () => tries }
}

t.test('work is retried until it succeeds, and each earlier failure is reported', async (t) => {
  const { work, countTries } = failing(3)
  const told: unknown[] = []
  t.equal(await retry(work, { ...AT_ONCE, onRetry: (error) => told.push((error as Error).message) }), 'answer')
  t.equal(countTries(), 4)
  t.same(told, ['try 1', 'try 2', 'try 3'])
})

t.test('the number of tries is bounded: the last failure is thrown, not reported as a retry', async (t) => {
  const { work, countTries } = failing(Infinity)
  const told: unknown[] = []
  await t.rejects(retry(work, { ...AT_ONCE, maxTries: 3, onRetry: (error) => told.push(error) }), { message: 'try 3' })
  t.equal(countTries(), 3)
  t.equal(told.length, 2)
})

t.test('the time for tries is bounded: no try begins after it', async (t) => {
  const { work, countTries } = failing(Infinity)
  await t.rejects(retry(work, { ...LONG, withinMs: -1 }), { message: 'try 1' })
  t.equal(countTries(), 1)
})

t.test('an error that is not worthwhile is not retried', async (t) => {
  const { work, countTries } = failing(Infinity)
  await t.rejects(retry(work, { ...AT_ONCE, isWorthwhile: (error) => (error as Error).message === 'try 1' }), {
    message: 'try 2',
  })
  t.equal(countTries(), 2)
})

t.test('an abort ends a pause at once, and no try begins after it', async (t) => {
  const { work, countTries } = failing(Infinity)
  const controller = new AbortController()
  await t.rejects(
    retry(work, { ...LONG, signal: controller.signal, onRetry: () => setImmediate(() => controller.abort()) }),
    { message: 'try 1' },
  )
  await t.rejects(retry(work, { ...LONG, signal: controller.signal }), { message: 'try 2' })
  t.equal(countTries(), 2)
})

t.test('pauses double up to the maximum, less a random share of half by default', (t) => {
  const growth = { firstMs: 100, maxMs: 1_000 }
  const pauses = (jitter: { jitter?: number }, random: number) =>
    [1, 2, 3, 4, 5, 5_000].map((failures) => growingPauseMs(failures, { ...growth, ...jitter }, () => random))
  t.same(pauses({}, 1), [100, 200, 400, 800, 1_000, 1_000])
  t.same(pauses({}, 0), [50, 100, 200, 400, 500, 500])
  t.same(pauses({ jitter: 0 }, 0.3), [100, 200, 400, 800, 1_000, 1_000])
  t.same(pauses({ jitter: 1 }, 0), [0, 0, 0, 0, 0, 0])
  t.end()
})
