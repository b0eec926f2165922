import t from 'tap'
import { Value } from 'typebox/value'
import { demoSleep } from '../../src/handlers/demo-sleep.js'
import { createContext } from './context.js'

t.test('it reports progress after each step', async (t) => {
  const { context, progress } = createContext()
  const result = await demoSleep.run({ steps: 3, stepMs: 5 }, context)
  t.strictSame(progress, [
    { done: 1, total: 3, message: 'step 1 of 3' },
    { done: 2, total: 3, message: 'step 2 of 3' },
    { done: 3, total: 3, message: 'step 3 of 3' },
  ])
  t.equal(result.steps, 3)
  // Timers may fire a millisecond early.
  t.ok(result.sleptMs >= 12, `slept ${result.sleptMs} ms`)
  t.ok(Value.Check(demoSleep.result, result), 'the result fits its schema')
})

t.test('the schema fills in five steps of 300 ms', async (t) => {
  t.strictSame(Value.Default(demoSleep.payload, {}), { steps: 5, stepMs: 300 })
})

t.test('it runs without any payload value', async (t) => {
  const { context, progress } = createContext()
  const result = await demoSleep.run({ stepMs: 1 }, context)
  t.equal(result.steps, 5)
  t.equal(progress.length, 5)
})

t.test('no steps end at once, without progress', async (t) => {
  const { context, progress } = createContext()
  t.strictSame(await demoSleep.run({ steps: 0 }, context), { steps: 0, sleptMs: 0 })
  t.strictSame(progress, [])
})

t.test('it fails at the requested step', async (t) => {
  const { context, progress } = createContext()
  await t.rejects(demoSleep.run({ steps: 5, stepMs: 1, failAt: 3 }, context), { message: 'failed at step 3, as asked' })
  t.equal(progress.length, 2, 'the steps before it were reported')
})

t.test('a failure beyond the last step never happens', async (t) => {
  const { context } = createContext()
  t.match(await demoSleep.run({ steps: 2, stepMs: 1, failAt: 3 }, context), { steps: 2 })
})

t.test('it ends at once when its signal aborts', async (t) => {
  const controller = new AbortController()
  const { context, progress } = createContext({ signal: controller.signal })
  const run = demoSleep.run({ steps: 5, stepMs: 60_000 }, context)
  controller.abort(new Error('the worker stops'))
  await t.rejects(run, { name: 'AbortError' })
  t.strictSame(progress, [])
})

t.test('the schema refuses values out of range and unknown fields', async (t) => {
  const wrong = [
    { steps: -1 },
    { steps: 1001 },
    { steps: 1.5 },
    { steps: '5' },
    { stepMs: 60_001 },
    { failAt: 0 },
    { x: 1 },
    [],
  ]
  for (const payload of wrong) t.notOk(Value.Check(demoSleep.payload, payload), JSON.stringify(payload))
  t.ok(Value.Check(demoSleep.payload, { steps: 0, stepMs: 0, failAt: 1 }))
})
