/** When a receiver may be called: the limits of receivers, and their circuit breakers. The test controls the clock. */
import t from 'tap'
import { PermanentFailure, PutBack } from '../../src/definitions/outcome-errors.js'
import { AddressRefusedError } from '../../src/handlers/address-guard.js'
import { ReceiverGate, type ReceiverGateOptions } from '../../src/handlers/receiver-gate.js'

const { signal } = new AbortController()

/** A gate, and calls that end when the test says so. */
function openGate(options: ReceiverGateOptions = {}) {
  let nowMs = 1_000_000
  const gate = new ReceiverGate({ slots: 128, now: () => nowMs, ...options })
  const started: string[] = []
  const call = (host: string, callSignal = signal) => {
    let end: { answer(status?: number): void; fail(error?: Error): void } = { answer() {}, fail() {} }
    const ended = gate.call({
      url: new URL(`http://${host}/path`),
      signal: callSignal,
      isFailure: (status) => status >= 500,
      send: () => {
        started.push(host)
        return new Promise<number>(
          (resolve, reject) =>
            (end = {
              answer: (status = 200) => resolve(status),
              fail: (error = new Error('no answer')) => reject(error),
            }),
        )
      },
    })
    ended.catch(() => {})
    return { ended, answer: (status?: number) => end.answer(status), fail: (error?: Error) => end.fail(error) }
  }
  /** Makes calls that fail, one after another. */
  const failing = async (host: string, count: number) => {
    for (let failure = 0; failure < count; failure += 1) {
      const failed = call(host)
      failed.fail()
      await failed.ended.catch(() => {})
    }
  }
  return { gate, call, failing, started, pass: (milliseconds: number) => void (nowMs += milliseconds) }
}

const putBack = async (ended: Promise<unknown>): Promise<PutBack> => {
  const error = await ended.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof PutBack)) throw new Error(`it was not put back: ${String(error)}`)
  return error
}

t.test(
  'a receiver that has not answered yet occupies four slots, and its other calls are put back at once',
  async (t) => {
    const { call, started, pass } = openGate()
    const calls = Array.from({ length: 260 }, () => call('tarpit.test'))
    const refused = await Promise.all(calls.slice(4).map(({ ended }) => putBack(ended)))
    t.equal(started.length, 4)
    t.ok(refused.every(({ delayMs }) => delayMs >= 1_000 && delayMs < 2_000))
    t.ok(new Set(refused.map(({ delayMs }) => delayMs)).size > 200, 'they do not come back together')
    pass(10_000)
    const { delayMs, message } = await putBack(call('tarpit.test').ended)
    t.ok(delayMs >= 10_000 && delayMs < 20_000, 'the pause is as long as the wait of the oldest call')
    t.match(message, /^calls to tarpit\.test:80 under way: 4;/)
  },
)

t.test(
  'many receivers that do not answer occupy half of the slots, and one that has answered is still called',
  async (t) => {
    const { call, started } = openGate()
    const known = call('known.test')
    known.answer()
    await known.ended
    for (let host = 0; host < 100; host += 1) for (let index = 0; index < 4; index += 1) call(`tarpit-${host}.test`)
    t.equal(started.length, 1 + 64)
    const again = call('known.test')
    again.answer()
    t.equal(await again.ended, 200)
  },
)

t.test('each success allows one more call, up to a quarter of the slots; a failure resets that', async (t) => {
  const { call, started } = openGate()
  for (let index = 0; index < 100; index += 1) {
    const each = call('busy.test')
    each.answer()
    await each.ended
  }
  started.length = 0
  const calls = Array.from({ length: 40 }, () => call('busy.test'))
  t.equal(started.length, 32)
  calls[0]?.answer()
  await calls[0]?.ended
  await new Promise(setImmediate)
  t.equal(started.length, 33, 'a waiting call got the slot')
  calls[1]?.fail()
  await Promise.all(calls.slice(33).map(({ ended }) => putBack(ended)))
  t.equal(started.length, 33, 'a call that waited for a failing receiver is put back')
  calls.slice(2, 33).forEach((each) => each.answer())
})

t.test('a call to a receiver that answers waits for a moment, and is put back after it', async (t) => {
  const { call } = openGate({ slots: 4 })
  const first = call('slow.test')
  first.answer()
  await first.ended
  const running = call('slow.test')
  const second = await putBack(call('slow.test').ended)
  t.ok(second.delayMs >= 1_000)
  running.answer()
  t.equal(await running.ended, 200)
})

t.test(
  'after enough failures the circuit opens, and one probe at a time goes through after a delay that doubles',
  async (t) => {
    const { call, failing, started, pass } = openGate({ failuresToOpen: 3, firstPauseMs: 5_000, maxPauseMs: 12_000 })
    await failing('down.test', 3)
    started.length = 0
    for (const pauseMs of [5_000, 10_000, 12_000, 12_000]) {
      const refused = await putBack(call('down.test').ended)
      t.ok(refused.delayMs >= pauseMs && refused.delayMs < pauseMs + 2_000, `${pauseMs}`)
      t.match(refused.message, /^down\.test:80 failed the last \d+ calls/)
      pass(pauseMs)
      const probe = call('down.test')
      await putBack(call('down.test').ended)
      t.strictSame(started.splice(0), ['down.test'], 'one probe')
      probe.fail()
      await probe.ended.catch(() => {})
    }
    pass(12_000)
    const probe = call('down.test')
    probe.answer()
    t.equal(await probe.ended, 200)
    const next = call('down.test')
    next.answer()
    t.equal(await next.ended, 200, 'it is closed')
    await failing('down.test', 3)
    t.ok((await putBack(call('down.test').ended)).delayMs < 7_000, 'the pauses start over')
  },
)

t.test('a failure answer counts as a failure, and one success resets the count', async (t) => {
  const { call } = openGate({ failuresToOpen: 2 })
  const end = async (status: number) => {
    const each = call('ill.test')
    each.answer(status)
    return each.ended
  }
  for (const status of [500, 404, 503, 200, 500]) t.equal(await end(status), status)
  t.equal(await end(502), 502)
  await putBack(call('ill.test').ended)
})

t.test("errors that are not the receiver's do not open the circuit", async (t) => {
  const { call } = openGate({ failuresToOpen: 1 })
  for (const error of [new AddressRefusedError('private'), new PermanentFailure('gone')]) {
    const each = call('innocent.test')
    each.fail(error)
    await t.rejects(each.ended, error)
  }
  const controller = new AbortController()
  const cancelled = call('innocent.test', controller.signal)
  controller.abort('cancelled')
  cancelled.fail()
  await t.rejects(cancelled.ended)
  const next = call('innocent.test')
  next.answer()
  t.equal(await next.ended, 200)
})

t.test('calls that started before the circuit opened do not extend its delay', async (t) => {
  const { call } = openGate({ failuresToOpen: 2, firstPauseMs: 5_000 })
  const calls = Array.from({ length: 4 }, () => call('down.test'))
  calls.forEach((each) => each.fail())
  await Promise.allSettled(calls.map(({ ended }) => ended))
  t.ok((await putBack(call('down.test').ended)).delayMs < 7_000)
})

t.test('another port is another receiver, and the default port is the same written or not', async (t) => {
  const { call, failing } = openGate({ failuresToOpen: 1 })
  await failing('host.test:8080', 1)
  await putBack(call('host.test:8080').ended)
  const other = call('host.test')
  other.fail()
  await t.rejects(other.ended, { message: 'no answer' })
  await putBack(call('host.test:80').ended)
})

t.test('an abort ends the wait for a slot', async (t) => {
  const { call } = openGate({ slots: 1 })
  const first = call('one.test')
  first.answer()
  await first.ended
  const running = call('one.test')
  const controller = new AbortController()
  const waiting = call('one.test', controller.signal)
  controller.abort('cancelled')
  await putBack(waiting.ended)
  running.answer()
  await t.rejects(call('one.test', AbortSignal.abort(new Error('cancelled'))).ended, { message: 'cancelled' })
})
