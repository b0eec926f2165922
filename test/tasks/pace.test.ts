import t from 'tap'
import { createPaceMeter } from '../../src/tasks/attempt/context/pace.js'

t.test('the speed and the remaining time are given once they can be measured', async (t) => {
  let nowMs = 0
  const measure = createPaceMeter(() => nowMs)
  t.same(measure(10, 100), {}, 'the first report')
  nowMs = 100
  t.same(measure(20, 100), {}, 'too soon')
  nowMs = 1_000
  t.same(measure(30, 100), { perSecond: 20, remainingMs: 3_500 })
  t.same(measure(30, undefined), { perSecond: 20 }, 'an unknown total gives no remaining time')
  t.same(measure(150, 100), { perSecond: 140, remainingMs: 0 })
  t.same(measure(0, 100), {}, 'a progress that starts over is measured anew')
})
