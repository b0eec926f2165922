/** Limits and pauses in words, and which of them need attention. */
import t from 'tap'
import { findHolds } from '../../public/format/holds.js'
import {
  describeAmount,
  describePaused,
  describePeriod,
  describeScope,
  describeUses,
} from '../../public/format/limits.js'
import type { HaltedSequence, Limit, Pause } from '../../src/protocol/release.js'

/** Without the characters that isolate a name from the direction of the text around it. */
const plain = (text: string) => text.replaceAll(/[\u2068\u2069]/g, '')
const rate = (limit: number, periodMs: number, burst = 1) => ({ concurrency: null, rate: { limit, periodMs, burst } })
const everything = { types: null, queue: null, tenant: null, per: 'all' as const }

t.test('a limit says how many it allows', async (t) => {
  t.equal(describeAmount({ concurrency: 5, rate: null }), 'At most 5 at a time')
  t.equal(describeAmount(rate(1, 60_000)), 'At most 1 start per minute')
  t.equal(describeAmount(rate(10, 900_000, 4)), 'At most 10 starts per 15 minutes, up to 4 at once after a quiet time')
  t.same(
    [1_000, 90_000, 3_600_000, 7 * 86_400_000, 1_500].map(describePeriod),
    ['per second', 'per 90 seconds', 'per hour', 'per 7 days', 'per 1500 ms'],
    'a period is in the largest unit without a fraction',
  )
})

t.test('a limit says what it counts', async (t) => {
  t.equal(describeScope(everything), 'All tasks')
  t.equal(
    describeScope({ ...everything, types: ['email.send'], queue: 'emails', per: 'key' }),
    'Tasks of the type email.send in the queue emails, counted for each concurrency key',
  )
  t.equal(
    plain(describeScope({ ...everything, types: ['a.b', 'c.d'], tenant: ' ' })),
    'Tasks of the types a.b, c.d of the tenant (blank)',
  )
})

t.test('its fullest counts are shown first, and how many others there are', async (t) => {
  const counted = (key: string, running: number): Limit['use'][0] => ({
    tenant: 'default',
    key,
    running,
    left: 9 - running,
  })
  const use = [counted('a', 1), ...['b', 'c', 'd', 'e', 'f'].map((key) => counted(key, 3)), counted('g', 9)]
  const { items, more } = describeUses({ per: 'key', concurrency: 9, rate: null, use })
  t.same(
    items.map(({ name, words }) => `${plain(name)}: ${words}`),
    ['g: 9 of 9 running', 'b: 3 of 9 running', 'c: 3 of 9 running', 'd: 3 of 9 running', 'e: 3 of 9 running'],
  )
  t.equal(more, 2)
  const idle = describeUses({ per: 'all', concurrency: 9, rate: null, use: [] })
  t.match(idle, { items: [{ name: '', words: '0 of 9 running', slots: 9 }], more: 0 }, 'nothing runs under it')
  t.same(describeUses({ per: 'key', concurrency: 9, rate: null, use: [] }).items, [])
  const started = describeUses({
    per: 'all',
    ...rate(10, 1_000, 4),
    use: [{ tenant: null, key: null, running: null, left: 1 }],
  })
  t.match(started.items, [{ running: 3, slots: 4, words: '1 can start now' }])
  const none = describeUses({
    per: 'all',
    ...rate(10, 1_000),
    use: [{ tenant: null, key: null, running: null, left: 0 }],
  })
  t.match(none.items, [{ slots: 0, words: 'none can start now' }], 'a burst of one needs no gauge')
})

t.test('a key of any text does not change the text around it, and is seen if it is blank', async (t) => {
  t.equal(describePaused({ kind: 'type', name: 'a.b' }), 'type a.b')
  t.equal(describePaused({ kind: 'key', name: '\u202eevil' }), 'concurrency key \u2068\u202eevil\u2069')
  t.equal(describePaused({ kind: 'tenant', name: '\u200b' }), 'tenant (blank)')
})

const NOW = Date.parse('2026-11-27T12:00:00.000Z')
const pause = (name: string, hours: number): Pause => ({
  kind: 'type',
  name,
  setBy: 'anna',
  setAt: new Date(NOW - hours * 3_600_000).toISOString(),
  reason: null,
  until: null,
})
const halted = (key: string, waiting: number): HaltedSequence => ({
  key,
  haltedBy: '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10',
  haltedAt: new Date(NOW).toISOString(),
  waiting,
})
const find = (present: { pauses?: Pause[]; sequences?: HaltedSequence[] }) =>
  findHolds({ pauses: [], sequences: [], ...present, now: NOW }).map(({ what }) => plain(what))

t.test('pauses older than a day and halted sequences need attention, and nothing else', async (t) => {
  t.same(find({}), [])
  t.same(find({ pauses: [pause('a.b', 23)] }), [])
  t.same(find({ pauses: [pause('a.b', 23), pause('c.d', 50)] }), ['The type c.d has been paused for 2 d.'])
  t.same(find({ pauses: [pause('a.b', 24), pause('c.d', 50)] }), [
    'These pauses are older than a day: type a.b, type c.d.',
  ])
  t.same(find({ sequences: [halted('k', 1)] }), [
    'The sequence k is halted: one of its tasks failed or expired, and those behind it wait.',
  ])
  t.same(find({ sequences: [halted('k', 1), halted('l', 4)] }), [
    '2 sequences are halted: in each, a task failed or expired, and those behind it wait.',
  ])
})
