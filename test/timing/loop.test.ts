import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startLoop } from '../../src/timing/loop.js'

const LONG_MS = 3_600_000
const silent = { onError() {}, onRecovery() {} }

t.test('a stop waits for the running step, but not for the pause after it', async (t) => {
  let endStep: (hasMore: boolean) => void = () => {}
  const step = new Promise<boolean>((resolve) => (endStep = resolve))
  const loop = startLoop(() => step, { intervalMs: LONG_MS, ...silent })
  let isStopped = false
  const stopped = loop.stop().then(() => (isStopped = true))
  await sleep(20)
  t.notOk(isStopped, 'the step is still in progress')
  endStep(false)
  await stopped
})

t.test('a stop ends a pause', async () => {
  const loop = startLoop(async () => false, { intervalMs: LONG_MS, ...silent })
  await sleep(20)
  await Promise.all([loop.stop(), loop.stop()])
})

t.test('failures are reported with their count and the recovery once, while the loop continues', async (t) => {
  const answers = [true, new Error('away'), new Error('still away'), true, true, false]
  const told: unknown[] = []
  let end: () => void = () => {}
  const ended = new Promise<void>((resolve) => (end = resolve))
  async function step() {
    const answer = answers.shift()
    told.push(answer)
    if (answers.length === 0) end()
    if (answer instanceof Error) throw answer
    return answer ?? false
  }
  const loop = startLoop(step, {
    intervalMs: 1,
    onError: (error, failures) => told.push([(error as Error).message, failures]),
    onRecovery: () => told.push('works again'),
  })
  await ended
  await loop.stop()
  t.match(told.slice(0, 9), [
    true,
    { message: 'away' },
    ['away', 1],
    { message: 'still away' },
    ['still away', 2],
    true,
    'works again',
    true,
    false,
  ])
})
