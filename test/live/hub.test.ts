import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { Task } from '../../src/protocol/task.js'
import { Client, ID, NO_LOG, openWorld, OTHER_ID, settle, UNKNOWN_ID, until } from './world.js'

t.test('a watcher gets the snapshot, then each transition, then the end', async (t) => {
  const { store, bus, hub } = await openWorld(t)
  store.create(ID)
  t.equal(await hub.find(DEFAULT_PRINCIPAL, ID), true)
  const client = new Client().attach(hub, ID)
  bus.deliver(store.commit(ID, 'PROCESSING'))
  bus.deliver(store.report(ID, 0.5))
  bus.deliver(store.commit(ID, 'COMPLETED', { result: { answer: 42 } }))
  t.same(client.story, ['snapshot 1', 'transition 2', 'progress 2 0.5', 'transition 3'])
  t.match(client.messages[0], { taskId: ID, status: 'PENDING', task: { id: ID, title: 'a task' } })
  t.match(client.messages.at(-1), { status: 'COMPLETED', result: { answer: 42 } })
  await until(() => client.closed !== undefined)
  t.same(client.closed, { code: 1000, reason: 'ended' })
})

t.test('a watcher that connects after the end receives the final snapshot and the close', async (t) => {
  const { store, hub } = await openWorld(t)
  store.create(ID)
  store.commit(ID, 'CANCELLED')
  const client = new Client().attach(hub, ID)
  await settle()
  t.same(client.story, ['snapshot 2'])
  t.equal(client.closed?.code, 1000)
})

t.test(
  'the task is read after the broker has acknowledged, and events that arrive meanwhile need no second read',
  async (t) => {
    const steps: string[] = []
    const { store, bus, hub } = await openWorld(t, {
      readTasks: async (principal, ids) => {
        steps.push('read')
        const before = await store.readTasks(principal, ids)
        bus.deliver(store.commit(ID, 'PROCESSING'))
        bus.deliver(store.report(ID, 0.1))
        return before
      },
      readTransitionMessages: async () => {
        throw new Error('a second read')
      },
    })
    bus.subscribe = async () => {
      await settle()
      steps.push('acknowledged')
    }
    store.create(ID)
    const client = new Client().attach(hub, ID)
    await until(() => client.messages.length === 3)
    t.same(steps, ['acknowledged', 'read'])
    t.same(client.story, ['snapshot 1', 'transition 2', 'progress 2 0.1'])
  },
)

t.test('duplicate, reordered and hint-only events make no difference', async (t) => {
  const { store, bus, hub } = await openWorld(t)
  store.create(ID)
  await hub.find(DEFAULT_PRINCIPAL, ID)
  const client = new Client().attach(hub, ID)
  const second = store.commit(ID, 'PROCESSING')
  const third = store.commit(ID, 'RETRYING')
  const fourth = store.commit(ID, 'PROCESSING')
  for (const event of [third, fourth, third, second, second, third]) bus.deliver(event)
  store.commit(ID, 'COMPLETED')
  bus.listener.onHint(ID, 5)
  await settle()
  t.same(client.story, ['snapshot 1', 'transition 2', 'transition 3', 'transition 4', 'transition 5'])
})

t.test('ten thousand watchers of one task cost one read, and all get everything in order', async (t) => {
  let reads = 0
  const { store, bus, hub } = await openWorld(t, {
    readTasks: async (principal, ids) => {
      reads += 1
      return store.readTasks(principal, ids)
    },
  })
  store.create(ID)
  const clients = Array.from({ length: 10_000 }, () => new Client().attach(hub, ID))
  t.match(hub.counts(), { tasks: 1, streams: 10_000 })
  await until(() => clients.every((client) => client.messages.length === 1))
  for (const status of ['PROCESSING', 'RETRYING', 'PROCESSING', 'COMPLETED'] as const) {
    bus.deliver(store.commit(ID, status))
    await settle(3)
  }
  await until(() => clients.every((client) => client.closed))
  const story = ['snapshot 1', 'transition 2', 'transition 3', 'transition 4', 'transition 5'].join()
  t.equal(clients.filter((client) => client.story.join() === story).length, 10_000)
  t.equal(reads, 1)
})

t.test(
  'all watchers receive the end before the first of them is closed, and other work continues meanwhile',
  async (t) => {
    const { store, bus, hub } = await openWorld(t)
    store.create(ID)
    store.create(OTHER_ID)
    const clients = Array.from({ length: 5_000 }, () => new Client().attach(hub, ID))
    const other = new Client().attach(hub, OTHER_ID)
    await until(() => [...clients, other].every((client) => client.messages.length === 1))
    bus.deliver(store.commit(ID, 'CANCELLED'))
    await until(() => clients.some((client) => client.closed))
    t.ok(clients.every((client) => client.messages.length === 2))
    t.ok(
      clients.some((client) => !client.closed),
      'the others are closed later',
    )
    bus.deliver(store.commit(OTHER_ID, 'PROCESSING'))
    t.equal(other.messages.length, 2)
    const leaving = clients.find((client) => !client.closed)
    leaving?.stream?.stop()
    const late = new Client().attach(hub, ID)
    await until(() => [...clients, late].every((client) => client === leaving || client.closed?.code === 1000))
    t.same(late.story, ['snapshot 2'])
    t.equal(leaving?.closed, undefined, 'a stream that stopped by itself is not closed again')
  },
)

t.test('tasks requested together are read together', async (t) => {
  const batches: number[] = []
  const { store, hub } = await openWorld(t, {
    readTasks: async (principal, ids) => {
      batches.push(ids.length)
      return store.readTasks(principal, ids)
    },
  })
  const ids = Array.from({ length: 1_200 }, (_, index) => `019aa3f2-7c1e-7b3a-9a55-${String(index).padStart(12, '0')}`)
  for (const id of ids) store.create(id)
  const found = await Promise.all(ids.map((id) => hub.find(DEFAULT_PRINCIPAL, id)))
  t.ok(found.every(Boolean))
  t.same(batches, [500, 500, 200])
})

t.test('a lost final event is found by the position check', async (t) => {
  const { store, hub } = await openWorld(t, { positionCheckMs: 20 })
  store.create(ID)
  await hub.find(DEFAULT_PRINCIPAL, ID)
  const client = new Client().attach(hub, ID)
  store.commit(ID, 'PROCESSING')
  store.commit(ID, 'FAILED')
  await until(() => client.isEnded)
  t.same(client.story, ['snapshot 1', 'transition 2', 'transition 3'])
})

t.test('while the broker is down, tasks are still served, and changes still arrive', async (t) => {
  const { store, bus, hub } = await openWorld(t)
  bus.isUp = false
  bus.subscribe = () => new Promise(() => {})
  store.create(ID)
  t.equal(await hub.find(DEFAULT_PRINCIPAL, ID), true)
  const client = new Client().attach(hub, ID)
  store.commit(ID, 'CANCELLED')
  await until(() => client.isEnded)
})

t.test('a broker that does not acknowledge is not awaited', async (t) => {
  const { store, bus, hub } = await openWorld(t)
  bus.subscribe = () => new Promise(() => {})
  store.create(ID)
  t.equal(await hub.find(DEFAULT_PRINCIPAL, ID), true)
})

t.test('after the subscription was renewed, missed changes are read at once, including progress', async (t) => {
  const { store, bus, hub } = await openWorld(t)
  store.create(ID)
  await hub.find(DEFAULT_PRINCIPAL, ID)
  const client = new Client().attach(hub, ID)
  store.commit(ID, 'PROCESSING')
  store.report(ID, 0.25)
  bus.listener.onGap()
  await settle()
  store.report(ID, 0.75)
  bus.listener.onGap()
  await settle()
  t.same(client.story, ['snapshot 1', 'transition 2', 'progress 2 0.75'])
})

t.test('a watcher that resumes', async (t) => {
  const { store, bus, hub } = await openWorld(t)
  store.create(ID)
  for (const status of ['PROCESSING', 'RETRYING', 'PROCESSING'] as const) store.commit(ID, status)
  store.report(ID, 0.5)
  const resume = async (since: number) => {
    const client = new Client().attach(hub, ID, since)
    await settle()
    return client
  }

  await t.test('receives the missed transitions, one by one, and the latest progress', async (t) => {
    const client = await resume(2)
    t.same(client.story, ['resumed 2', 'transition 3', 'transition 4', 'progress 4 0.5'])
    t.match(client.messages[0], { taskId: ID, status: 'PROCESSING', version: 2 })
  })
  await t.test('from the beginning, receives the whole history', async (t) => {
    const client = await resume(0)
    t.same(client.story.slice(0, 3), ['resumed 0', 'transition 1', 'transition 2'])
    t.equal(client.messages[0]?.status, 'PENDING')
  })
  await t.test('at the current version, receives a message that says so', async (t) => {
    t.same((await resume(4)).story, ['resumed 4', 'progress 4 0.5'])
  })
  await t.test('ahead of this process, is not set back', async (t) => {
    store.commit(ID, 'RETRYING') // without a publication
    t.same((await resume(5)).story, ['resumed 5'])
  })
  await t.test('from a version that never existed, starts over', async (t) => {
    const client = await resume(99)
    t.same(client.story, ['snapshot 5 reset'])
    bus.deliver(store.commit(ID, 'PROCESSING'))
    t.same(client.story, ['snapshot 5 reset', 'transition 6'])
  })
  await t.test('at the end, receives a message that says so, and is closed', async (t) => {
    bus.deliver(store.commit(ID, 'COMPLETED'))
    const client = await resume(7)
    t.same(client.story, ['resumed 7'])
    t.equal(client.closed?.code, 1000)
  })
})

t.test('a missing history is answered with a reset', async (t) => {
  const { store, hub } = await openWorld(t, { readTransitionMessages: async () => [] })
  store.create(ID)
  store.commit(ID, 'PROCESSING')
  const client = new Client().attach(hub, ID, 1)
  await settle()
  t.same(client.story, ['snapshot 2 reset'])
})

t.test('a history of many pages is sent completely, to many watchers with few reads', async (t) => {
  let reads = 0
  const { store, hub } = await openWorld(t, {
    readTransitionMessages: async (principal, id, since, limit) => {
      reads += 1
      return store.readTransitionMessages(principal, id, since, limit)
    },
  })
  store.create(ID)
  for (let version = 2; version <= 500; version += 1) store.commit(ID, version % 2 ? 'PENDING' : 'PROCESSING')
  const clients = Array.from({ length: 50 }, () => new Client().attach(hub, ID, 0))
  await until(() => clients.every((client) => client.messages.length === 501))
  const versions = Array.from({ length: 501 }, (_, index) => index)
  for (const client of clients)
    t.same(
      client.messages.map(({ version }) => version),
      versions,
    )
  t.equal(reads, 3)
})

t.test(
  'a full socket is sent nothing; when it has room it receives every transition and only the latest progress',
  async (t) => {
    const { store, bus, hub } = await openWorld(t)
    store.create(ID)
    await hub.find(DEFAULT_PRINCIPAL, ID)
    const slow = new Client().attach(hub, ID)
    const quick = new Client().attach(hub, ID)
    slow.buffered = 64 * 1024
    for (let round = 0; round < 60; round += 1) {
      bus.deliver(store.commit(ID, 'PROCESSING'))
      bus.deliver(store.report(ID, 0.1))
      if (round < 59) bus.deliver(store.commit(ID, 'PENDING'))
    }
    bus.deliver(store.report(ID, 0.9))
    t.same(slow.story, ['snapshot 1'])
    slow.drain()
    await until(() => slow.story.at(-1) === 'progress 120 0.9')
    const transitions = slow.messages.filter(({ type }) => type === 'transition').map(({ version }) => version)
    t.same(
      transitions,
      Array.from({ length: 119 }, (_, index) => index + 2),
    )
    t.equal(slow.messages.length, 1 + 119 + 1)
    t.equal(quick.messages.length, 1 + 119 + 61)
  },
)

t.test('a message larger than the buffer limit is sent alone', async (t) => {
  const { store, bus, hub } = await openWorld(t)
  store.create(ID)
  await hub.find(DEFAULT_PRINCIPAL, ID)
  const client = new Client().attach(hub, ID)
  bus.deliver(store.commit(ID, 'PROCESSING'))
  client.buffered = 20_000
  bus.deliver(store.commit(ID, 'COMPLETED', { result: 'x'.repeat(200_000) }))
  t.equal(client.story.at(-1), 'transition 2')
  client.drain()
  t.equal(client.story.at(-1), 'transition 3')
  await until(() => client.closed !== undefined)
  t.equal(client.closed?.code, 1000)
})

t.test('a stream is not closed before the socket has taken almost all of it', async (t) => {
  const { store, bus, hub } = await openWorld(t)
  store.create(ID)
  await hub.find(DEFAULT_PRINCIPAL, ID)
  const client = new Client().attach(hub, ID)
  client.buffered = 20_000
  bus.deliver(store.commit(ID, 'CANCELLED'))
  t.equal(client.story.at(-1), 'transition 2')
  t.equal(client.closed, undefined)
  client.drain()
  await until(() => client.closed !== undefined)
  t.equal(client.closed?.code, 1000)
})

t.test('a client that reads nothing is closed with 4002, one that reads a little is not', async (t) => {
  const { store, bus, hub } = await openWorld(t, { positionCheckMs: 10, maxStuckMs: 300 })
  store.create(ID)
  await hub.find(DEFAULT_PRINCIPAL, ID)
  const dead = new Client().attach(hub, ID)
  const slow = new Client().attach(hub, ID)
  dead.buffered = slow.buffered = 1_000_000
  bus.deliver(store.commit(ID, 'PROCESSING'))
  const trickle = setInterval(() => (slow.buffered -= 10), 10)
  t.teardown(() => clearInterval(trickle))
  await until(() => dead.closed !== undefined)
  t.equal(dead.closed?.code, 4002)
  t.equal(slow.closed, undefined)
})

t.test('an unknown task is not found, and leaves nothing behind', async (t) => {
  const { bus, hub } = await openWorld(t)
  t.equal(await hub.find(DEFAULT_PRINCIPAL, UNKNOWN_ID), false)
  t.same(hub.counts(), { tasks: 0, streams: 0, heldBytes: 0 })
  t.same(bus.subscribed, [])
  const client = new Client().attach(hub, UNKNOWN_ID)
  await settle()
  t.equal(client.closed?.code, 4504)
})

t.test('a read that fails fails `find`; streams wait until it works', async (t) => {
  let isAway = true
  const { store, hub } = await openWorld(t, {
    positionCheckMs: 10,
    readTasks: async (principal, ids) => {
      if (isAway) throw new Error('the database is away')
      return store.readTasks(principal, ids)
    },
  })
  store.create(ID)
  await t.rejects(hub.find(DEFAULT_PRINCIPAL, ID), { message: 'the database is away' })
  const client = new Client().attach(hub, ID)
  await settle()
  t.same(client.messages, [])
  isAway = false
  await until(() => client.messages.length === 1)
  t.same(client.story, ['snapshot 1'])
})

t.test('a deleted task ends its streams; a database that went back makes clients reconnect', async (t) => {
  const { store, bus, hub } = await openWorld(t)
  const before: Task = store.create(ID)
  await hub.find(DEFAULT_PRINCIPAL, ID)
  const first = new Client().attach(hub, ID)
  bus.deliver(store.commit(ID, 'PROCESSING'))
  store.tasks.set(ID, before)
  bus.listener.onGap()
  await settle()
  t.equal(first.closed?.code, 4001)

  const second = new Client().attach(hub, ID)
  await settle()
  store.tasks.delete(ID)
  bus.listener.onGap()
  await settle()
  t.equal(second.closed?.code, 4504)
  t.same(hub.counts(), { tasks: 0, streams: 0, heldBytes: 0 })
})

t.test('a room outlives its last stream for a second, then it is gone', async (t) => {
  let reads = 0
  const { store, bus, hub } = await openWorld(t, {
    readTasks: async (principal, ids) => {
      reads += 1
      return store.readTasks(principal, ids)
    },
  })
  store.create(ID)
  await hub.find(DEFAULT_PRINCIPAL, ID)
  new Client().attach(hub, ID).stream?.stop()
  const client = new Client().attach(hub, ID)
  t.same([reads, client.story], [1, ['snapshot 1']])
  client.stream?.stop()
  client.stream?.stop()
  t.match(hub.counts(), { tasks: 1, streams: 0 })
  await until(() => hub.counts().tasks === 0)
  t.same(bus.subscribed, [])
  bus.deliver(store.commit(ID, 'PROCESSING'))
  t.same(client.story, ['snapshot 1'])
})

t.test('stopping tells every watcher to reconnect, each after a different delay', async (t) => {
  const { store, bus, hub } = await openWorld(t, { log: NO_LOG })
  store.create(ID)
  const clients = Array.from({ length: 20 }, () => new Client().attach(hub, ID))
  await settle()
  await Promise.all([hub.stop(), hub.stop()])
  const pauses = clients.map(({ closed }) => Number(/^retryAfterMs=(\d+)$/.exec(closed?.reason ?? '')?.[1]))
  t.ok(clients.every(({ closed }) => closed?.code === 1012))
  t.ok(pauses.every((pause) => pause >= 1_000 && pause <= 3_000))
  t.ok(new Set(pauses).size > 5)
  t.equal(bus.isClosed, true)
  const late = new Client().attach(hub, ID)
  t.equal(late.closed?.code, 1012)
  late.stream?.stop()
})
