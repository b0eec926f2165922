import t from 'tap'
import { deliverMessage, encodeEvent, MAX_EVENT_BYTES, SLOT_COUNT, slotOf } from '../../src/broker/event-codec.js'
import type { Event } from '../../src/protocol/stream.js'
import { aTransition, taskInSlot } from './brokers.js'

function deliver(text: string): unknown[] {
  const calls: unknown[] = []
  deliverMessage(text, {
    onEvent: (event: Event, json: string) => calls.push(['event', event, json]),
    onHint: (taskId: string, version: number) => calls.push(['hint', taskId, version]),
    onGap: () => calls.push(['gap']),
  })
  return calls
}

t.test('the slot of a task is the last digit of its id', async (t) => {
  for (let slot = 0; slot < SLOT_COUNT; slot += 1) {
    t.equal(slotOf(taskInSlot(slot)), slot)
    t.equal(slotOf(taskInSlot(slot).toUpperCase()), slot)
  }
})

t.test('an event is decoded as it was encoded', async (t) => {
  const failure = { code: 'error', message: '\n', attempt: 1 } as const
  const event = aTransition(taskInSlot(3), 7, { reason: 'naïve “quotes” \u0000 \ud800', failure })
  const text = encodeEvent(event)
  t.strictSame(deliver(text), [['event', event, text]])
})

t.test('an event up to the limit, in bytes, is sent whole, and a larger one as a hint', async (t) => {
  const taskId = taskInSlot(3)
  const spare = MAX_EVENT_BYTES - encodeEvent(aTransition(taskId, 1, { reason: '' })).length
  const fits = aTransition(taskId, 1, { reason: 'ö'.repeat(Math.floor(spare / 2)) })
  const tooLarge = aTransition(taskId, 2, { reason: 'ö'.repeat(Math.floor(spare / 2) + 1) })
  t.match(deliver(encodeEvent(fits)), [['event', { version: 1 }]])
  t.strictSame(deliver(encodeEvent(tooLarge)), [['hint', taskId, 2]])
})

t.test('text that is not JSON throws', async (t) => {
  t.throws(() => deliver('{'))
})
