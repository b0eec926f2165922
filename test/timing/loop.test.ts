import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import t from 'tap'
import { startLoop } from '../../src/timing/loop.js'

const log = pino({ level: 'silent' })
const LONG_MS = 3_600_000

t.test('a stop waits for the step under way, and for no pause after it', async (t) => {
  let endStep: (hasMore: boolean) => void = () => {}
  const step = new Promise<boolean>((resolve) => (endStep = resolve))
  const loop = startLoop({ name: 'test', intervalMs: LONG_MS, log, step: () => step })
  let isStopped = false
  const stopped = loop.stop().then(() => (isStopped = true))
  await sleep(20)
  t.notOk(isStopped, 'the step is still under way')
  endStep(false)
  await stopped
})

t.test('a stop ends a pause', async () => {
  const loop = startLoop({ name: 'test', intervalMs: LONG_MS, log, step: async () => false })
  await sleep(20)
  await Promise.all([loop.stop(), loop.stop()])
})

t.test('there is more, a failure, and on it goes', async (t) => {
  const answers = [true, new Error('away'), true, false]
  const asked: unknown[] = []
  let end: () => void = () => {}
  const ended = new Promise<void>((resolve) => (end = resolve))
  const loop = startLoop({
    name: 'test',
    intervalMs: 1,
    log,
    async step() {
      const answer = answers.shift()
      asked.push(answer)
      if (answers.length === 0) end()
      if (answer instanceof Error) throw answer
      return answer ?? false
    },
  })
  await ended
  await loop.stop()
  t.match(asked.slice(0, 4), [true, { message: 'away' }, true, false])
})
