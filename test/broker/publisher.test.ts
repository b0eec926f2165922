/**
 * How the publisher handles many publications, a slow broker and a broker that is away. The test supplies the bus, so
 * that it can hold publications back.
 */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import type { EventBus } from '../../src/broker/broker.js'
import { createPublisher } from '../../src/broker/publisher.js'
import type { Notice } from '../../src/protocol/notice.js'
import type { Event } from '../../src/protocol/stream.js'

const anEvent = (version: number): Event => ({
  type: 'transition',
  taskId: 'a',
  status: 'PENDING',
  version,
  from: null,
  attempt: 0,
  at: '',
  reason: null,
})
const aNotice = (version: number) => (): Notice => ({ taskId: 'a', version, status: 'PENDING' })
const versionsOf = (batch: readonly { version: number }[]) => batch.map(({ version }) => version)

/** A bus whose publications end when the test says so, and fail while it is away. */
function setUp() {
  const batches: number[][] = []
  const state = { isAway: false, isHeard: true, gate: Promise.resolve() }
  const send = async (batch: readonly { version: number }[]) => {
    batches.push(versionsOf(batch))
    await state.gate
    if (state.isAway) throw new Error('Redis is away')
  }
  const bus: Pick<EventBus, 'publish' | 'publishNotices' | 'hasNoticeListeners'> = {
    publish: send,
    publishNotices: send,
    hasNoticeListeners: async () => state.isHeard,
  }
  const lines: { level: string; details: object }[] = []
  const log = {
    warn: (details: object) => void lines.push({ level: 'warn', details }),
    info: (details: object) => void lines.push({ level: 'info', details }),
  }
  return { publisher: createPublisher({ bus, log }), batches, state, lines }
}

t.test(
  'events published in one turn are sent together, in order, and those that arrive meanwhile are sent next',
  async (t) => {
    const { publisher, batches, state } = setUp()
    let open = () => {}
    state.gate = new Promise((resolve) => (open = resolve))
    publisher.publish([anEvent(1)])
    publisher.publish([anEvent(2), anEvent(3)])
    publisher.publish([])
    while (batches.length < 1) await new Promise(setImmediate)
    publisher.publish([anEvent(4)])
    publisher.publish([anEvent(5)])
    await new Promise(setImmediate)
    t.same(batches, [[1, 2, 3]], 'one publication at a time')
    open()
    await publisher.drain()
    t.same(batches, [
      [1, 2, 3],
      [4, 5],
    ])
  },
)

t.test('an outage causes two log lines, and events published after it arrive', async (t) => {
  const { publisher, batches, state, lines } = setUp()
  state.isAway = true
  for (let version = 1; version <= 5; version += 1) {
    publisher.publish([anEvent(version)])
    publisher.notifyLists([aNotice(version)])
    await publisher.drain()
  }
  t.match(lines, [{ level: 'warn', details: { reason: 'Redis is away' } }])
  state.isAway = false
  publisher.publish([anEvent(6)])
  await publisher.drain()
  t.same(batches.at(-1), [6])
  t.match(lines.slice(1), [{ level: 'info', details: { lost: 10 } }])
  t.equal(lines.length, 2)
})

t.test('while the broker is slow, at most 5,000 events wait: the oldest are dropped and counted', async (t) => {
  const { publisher, batches, state, lines } = setUp()
  let open = () => {}
  state.gate = new Promise((resolve) => (open = resolve))
  publisher.notifyLists([aNotice(0)])
  while (batches.length < 1) await new Promise(setImmediate)
  publisher.notifyLists(Array.from({ length: 6_000 }, (_, index) => aNotice(index + 1)))
  state.isAway = true
  open()
  await publisher.drain()
  const last = batches.at(-1) ?? []
  t.same([last.length, last[0], last.at(-1)], [5_000, 1_001, 6_000])
  state.isAway = false
  publisher.notifyLists([aNotice(7_000)])
  await publisher.drain()
  t.match(lines.at(-1), { level: 'info', details: { lost: 1 + 1_000 + 5_000 } })
})

t.test('notices without a listener are dropped, and a drain does not wait for the next check', async (t) => {
  const { publisher, batches, state, lines } = setUp()
  state.isHeard = false
  publisher.notifyLists([aNotice(1)])
  publisher.publish([anEvent(2)])
  while (batches.length < 1) await new Promise(setImmediate)
  state.isHeard = true
  publisher.notifyLists([aNotice(3)])
  await publisher.drain()
  t.same(batches, [[2], [3]], 'a notice that arrives after the check is kept for the next one')
  t.same(lines, [], 'nothing is lost')
})

t.test(
  'nothing outside the broker publishes on the bus: recorder, relay and routes go through the publisher',
  async (t) => {
    const files = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter(
      (file) => file.endsWith('.ts') && !file.startsWith('broker/'),
    )
    const others = files.filter((file) =>
      /\b(?:events|bus)\.publish|publishNotices/.test(readFileSync(`src/${file}`, 'utf8')),
    )
    t.same(others, [])
  },
)
