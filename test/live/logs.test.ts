/** Log lines of handlers on a stream, in memory. */
import t from 'tap'
import type { LogMessage } from '../../src/protocol/stream.js'
import { Client, ID, openWorld, settle, until } from './world.js'

function makeLine(seq: number, version: number): LogMessage {
  const line = { seq, attempt: 1, at: '2026-11-20T21:22:23.456Z', level: 'info', text: `line ${seq}` } as const
  return { type: 'log', taskId: ID, status: 'PROCESSING', version, line }
}

const told = (client: Client) =>
  client.messages.map((message) =>
    message.type === 'log' ? `line ${message.line.seq}` : `${message.type} ${message.version}`,
  )

t.test('stored log lines come first, then live ones, each once, and only on request', async (t) => {
  const { store, bus, hub } = await openWorld(t)
  store.create(ID)
  store.commit(ID, 'PROCESSING')
  store.lines.set(ID, [makeLine(1, 2), makeLine(3, 2)])
  const plain = new Client().attach(hub, ID)
  const reader = new Client().attach(hub, ID, undefined, true)
  await settle()
  bus.deliver(makeLine(3, 2))
  bus.deliver(makeLine(4, 2))
  bus.deliver(makeLine(4, 2))
  await settle()
  t.same(told(reader), ['snapshot 2', 'line 1', 'line 3', 'line 4'])
  t.same(told(plain), ['snapshot 2'])
  const late = new Client().attach(hub, ID, 2, true)
  await settle()
  t.same(told(late), ['resumed 2', 'line 1', 'line 3', 'line 4'])
})

t.test('log lines that the broker lost arrive before the end', async (t) => {
  const { store, bus, hub } = await openWorld(t)
  store.create(ID)
  store.commit(ID, 'PROCESSING')
  const reader = new Client().attach(hub, ID, undefined, true)
  await settle()
  store.lines.set(ID, [makeLine(1, 2), makeLine(2, 2)])
  bus.deliver(makeLine(2, 2))
  await settle()
  bus.deliver(store.commit(ID, 'COMPLETED', { result: null }))
  await settle()
  t.same(told(reader), ['snapshot 2', 'line 2', 'transition 3'], 'an older log line does not follow a newer one')
  t.same(reader.closed?.code, 1000)

  const after = new Client().attach(hub, ID, undefined, true)
  await settle()
  t.same(told(after), ['snapshot 3', 'line 1', 'line 2'])
  t.same(after.closed?.code, 1000)
})

t.test('while log lines cannot be read the stream waits, and continues once they can', async (t) => {
  let isAway = true
  const { store, hub } = await openWorld(t, {
    positionCheckMs: 10,
    readLatestLogs: async (principal, id, limit) =>
      isAway ? Promise.reject(new Error('away')) : store.readLatestLogs(principal, id, limit),
  })
  store.create(ID)
  store.commit(ID, 'PROCESSING')
  store.lines.set(ID, [makeLine(1, 2)])
  const reader = new Client().attach(hub, ID, undefined, true)
  await settle()
  t.same(told(reader), ['snapshot 2'])
  isAway = false
  await until(() => reader.messages.length === 2)
  t.same(told(reader), ['snapshot 2', 'line 1'])
})
