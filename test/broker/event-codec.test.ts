import t from 'tap'
import {
  deliverMessage,
  encodeEvent,
  MAX_EVENT_BYTES,
  SLOT_COUNT,
  slotOf,
  toNotice,
} from '../../src/broker/event-codec.js'
import type { Event } from '../../src/protocol/stream.js'
import { aTransition, taskInSlot } from './brokers.js'

function deliver(text: string): unknown[] {
  const calls: unknown[] = []
  deliverMessage(text, {
    onEvent: (event: Event, json: string) => calls.push(['event', event, json]),
    onHint: (taskId: string, version: number, tenant?: string) =>
      calls.push(['hint', taskId, version, ...(tenant === undefined ? [] : [tenant])]),
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

t.test('an event, a hint and a notice carry their tenant, and no field when they have none', async (t) => {
  const event = aTransition(taskInSlot(3), 7)
  const facts = {
    type: 'demo.sleep',
    queue: 'default',
    tags: [],
    batchId: null,
    parentId: null,
    createdAt: '2026-11-20T21:22:23.456Z',
  }
  const large = { ...event, reason: 'x'.repeat(MAX_EVENT_BYTES) }
  t.match(deliver(encodeEvent({ ...event, tenant: 'bert' })), [['event', { ...event, tenant: 'bert' }]])
  t.strictSame(deliver(encodeEvent({ ...large, tenant: 'bert' })), [['hint', event.taskId, 7, 'bert']])
  t.strictSame(deliver(encodeEvent(large)), [['hint', event.taskId, 7]])
  const { taskId, version, status } = event
  t.strictSame(toNotice({ ...event, tenant: 'bert', facts }), { taskId, tenant: 'bert', version, status, facts })
  t.strictSame(toNotice({ ...event, facts }), { taskId, version, status, facts })
  t.notMatch(encodeEvent(event), /tenant/, 'as processes of earlier versions have written it')
})

t.test('text that is not JSON throws', async (t) => {
  t.throws(() => deliver('{'))
})
