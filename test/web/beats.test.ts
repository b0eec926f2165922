/** When an idle connection sends a heartbeat, tick by tick. */
import { mock } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import type { StreamMessage } from '../../src/protocol/stream.js'
import { startBeats, type BeatingSink } from '../../src/web/live/beats.js'

const TICK_MS = 5_000
const MESSAGE: StreamMessage = {
  type: 'resumed',
  taskId: '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10',
  status: 'PROCESSING',
  version: 3,
}
const BEAT = { ...MESSAGE, type: 'heartbeat' }

const throwIt = (error: unknown) => {
  throw error
}

function open(t: { teardown(action: () => void): void }, onIdle?: () => void) {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const connection = { sent: [] as unknown[], buffered: 0, closed: 0 }
  const beats = startBeats(3 * TICK_MS, throwIt)
  const sink = beats.add(
    {
      send: (json) => connection.sent.push(JSON.parse(json)),
      bufferedBytes: () => connection.buffered,
      close: (code) => (connection.closed = code),
    },
    onIdle,
  )
  /** Runs ticks one by one: a tick starts when the previous one has ended. */
  const tick = async (count = 1) => {
    for (let turn = 0; turn < count; turn += 1) {
      mock.timers.tick(TICK_MS)
      await nextTurn()
    }
  }
  return { connection, beats, sink, tick }
}

const say = (sink: BeatingSink) => sink.send(JSON.stringify(MESSAGE), MESSAGE)

t.test('a heartbeat is sent in the third tick after the last message, and in each third tick after that', async (t) => {
  const { connection, sink, tick } = open(t)
  say(sink)
  await tick(2)
  t.same(connection.sent, [MESSAGE])
  await tick()
  t.same(connection.sent, [MESSAGE, BEAT])
  await tick(3)
  t.same(connection.sent, [MESSAGE, BEAT, BEAT])
})

t.test('an active, blocked or closed connection sends no heartbeats', async (t) => {
  const { connection, sink, tick } = open(t)
  for (let round = 0; round < 5; round += 1) {
    say(sink)
    await tick(2)
  }
  t.same(
    connection.sent,
    Array.from({ length: 5 }, () => MESSAGE),
  )
  connection.buffered = 1
  await tick(6)
  t.equal(connection.sent.length, 5, 'buffered messages will serve as heartbeats when they arrive')
  connection.buffered = 0
  await tick()
  t.equal(connection.sent.length, 6)
  sink.close(1000, 'ended')
  await tick(6)
  t.equal(connection.sent.length, 6)
  t.equal(connection.closed, 1000)
})

t.test('a connection without messages about a task sends its own heartbeat', async (t) => {
  let idle = 0
  const one = open(t, () => (idle += 1))
  await one.tick(6)
  t.equal(idle, 2)
  say(one.sink)
  await one.tick(3)
  t.same(one.connection.sent, [MESSAGE, BEAT])
})

t.test('a connection without such a heartbeat stays silent, and nothing is sent after the stop', async (t) => {
  const { connection, beats, sink, tick } = open(t)
  await tick(6)
  t.same(connection.sent, [])
  say(sink)
  beats.stop()
  await tick(6)
  t.same(connection.sent, [MESSAGE])
})

t.test('a failed heartbeat is reported, and does not delay others at the next tick', async (t) => {
  mock.timers.enable({ apis: ['setInterval'] })
  t.teardown(() => mock.timers.reset())
  const errors: unknown[] = []
  const beats = startBeats(3 * TICK_MS, (error) => errors.push(error))
  t.teardown(() => beats.stop())
  let calls = 0
  beats.add({
    send() {},
    bufferedBytes() {
      calls += 1
      if (calls === 1) throw new Error('broken')
      return 0
    },
    close() {},
  })
  for (let turn = 0; turn < 4; turn += 1) {
    mock.timers.tick(TICK_MS)
    await nextTurn()
  }
  t.match(errors, [{ message: 'broken' }])
  t.equal(errors.length, 1)
  t.equal(calls, 2)
})
