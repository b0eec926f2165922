/** The guarantees of every broker, tested on both. Outages are in `outage.test.ts`. */
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Delivery } from '../../src/broker/broker.js'
import type { Notice } from '../../src/protocol/notice.js'
import {
  aDelivery,
  aTransition,
  type BrokerKind,
  canTestRedis,
  createGate,
  createMailbox,
  deliveries,
  listenWithMailbox,
  openTestBroker,
  startPostgresKind,
  startRedisKind,
  taskInSlot,
} from './brokers.js'

/** How long a test waits before it concludes that nothing arrives. */
const NOTHING_COMES_MS = 300

t.test('on PostgreSQL', async (t) => testConformance(t, await startPostgresKind(t)))
t.test('on Redis', async (t) => {
  if (await canTestRedis(t)) await testConformance(t, await startRedisKind(t))
})

async function testConformance(t: Test, kind: BrokerKind): Promise<void> {
  await testDeliveries(t, kind)
  await testConsumers(t, kind)
  await testEvents(t, kind)
  await testClosing(t, kind)
}

async function testDeliveries(t: Test, kind: BrokerKind): Promise<void> {
  await t.test('each delivery runs once, as it was added', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    t.equal(broker.kind, kind.kind)
    const runs = createMailbox<Delivery>()
    await broker.queue.consume(async (delivery) => runs.push(delivery), { queue: 'default', concurrency: 8 })
    const added = Array.from({ length: 450 }, (_, i) => aDelivery({ attempt: 1 + (i % 3), priority: i % 10 }))
    await broker.queue.add(added.slice(0, 1))
    await broker.queue.add(added.slice(1))
    await runs.untilCount(added.length)
    await sleep(NOTHING_COMES_MS)
    t.strictSame(sorted(runs.items), sorted(added))
    t.equal(await broker.queue.countWaiting('default'), 0)
  })

  await t.test('a delivery added twice runs once', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const delivery = aDelivery()
    await broker.queue.add([delivery])
    await broker.queue.add([delivery, delivery, { ...delivery, attempt: 2 }])
    t.equal(await broker.queue.countWaiting('default'), 2)
    const runs = createMailbox<Delivery>()
    const gate = createGate()
    await broker.queue.consume(
      async (taken) => {
        runs.push(taken)
        await gate.opened
      },
      { queue: 'default', concurrency: 8 },
    )
    await runs.untilCount(2)
    await broker.queue.add([delivery])
    await sleep(NOTHING_COMES_MS)
    gate.open()
    t.strictSame(runs.items.map((run) => run.attempt).sort(), [1, 2], 'nor is it while it runs')
  })

  await t.test('higher priorities are taken first, and equals in the order they were added', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const plain = deliveries(20)
    const mixed = [3, 9, 0, 5, 9, 1, 3].map((priority) => aDelivery({ priority }))
    await broker.queue.add(plain)
    for (const delivery of mixed) await broker.queue.add([delivery])
    const runs = createMailbox<Delivery>()
    await broker.queue.consume(async (delivery) => runs.push(delivery), { queue: 'default', concurrency: 1 })
    await runs.untilCount(plain.length + mixed.length)
    t.strictSame(
      runs.items,
      [...plain, ...mixed].sort((a, b) => b.priority - a.priority),
    )
  })

  await t.test('waiting jobs of every priority are counted', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    t.equal(await broker.queue.countWaiting('default'), 0)
    await broker.queue.add([...deliveries(3), ...deliveries(2, { priority: 7 })])
    t.equal(await broker.queue.countWaiting('default'), 5)
    await broker.queue.add([])
    t.equal(await broker.queue.countWaiting('default'), 5)
  })
}

async function testConsumers(t: Test, kind: BrokerKind): Promise<void> {
  await t.test('exactly `concurrency` deliveries run at a time when enough are waiting', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    await broker.queue.add(deliveries(40))
    const runs = createMailbox<number>()
    let running = 0
    await broker.queue.consume(
      async () => {
        running += 1
        await sleep(10)
        runs.push(running)
        running -= 1
      },
      { queue: 'default', concurrency: 4 },
    )
    await runs.untilCount(40)
    t.equal(Math.max(...runs.items), 4)
  })

  await t.test('a run that rejects drops its job, and the same delivery can be added again', async (t) => {
    const { broker, log } = await openTestBroker(t, kind)
    const delivery = aDelivery()
    const runs = createMailbox<Delivery>()
    let mayFail = true
    await broker.queue.consume(
      async (taken) => {
        runs.push(taken)
        // BullMQ treats an error of this name as its own "put the job back".
        if (mayFail) throw Object.assign(new Error('no database'), { name: 'DelayedError' })
      },
      { queue: 'default', concurrency: 2 },
    )
    await broker.queue.add([delivery])
    await runs.untilCount(1)
    await sleep(NOTHING_COMES_MS)
    t.equal(runs.items.length, 1, 'the broker does not retry')
    t.match(log.lines, [{ message: /a delivery failed to run/, details: { reason: 'no database' } }])
    mayFail = false
    await broker.queue.add([delivery])
    await runs.untilCount(2)
    await broker.queue.add([aDelivery()])
    await runs.untilCount(3)
  })

  await t.test('stop waits for the running deliveries and takes no more', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const runs = createMailbox<Delivery>()
    const gate = createGate()
    const consumer = await broker.queue.consume(
      async (delivery) => {
        runs.push(delivery)
        await gate.opened
      },
      { queue: 'default', concurrency: 2 },
    )
    await broker.queue.add(deliveries(5))
    await runs.untilCount(2)
    let isStopped = false
    const stopped = consumer.stop().then(() => (isStopped = true))
    t.equal(consumer.stop(), consumer.stop(), 'idempotent')
    await sleep(NOTHING_COMES_MS)
    t.notOk(isStopped)
    gate.open()
    await stopped
    t.equal(runs.items.length, 2)
    t.equal(await broker.queue.countWaiting('default'), 3)
    const rest = createMailbox<Delivery>()
    await broker.queue.consume(async (delivery) => rest.push(delivery), { queue: 'default', concurrency: 2 })
    await rest.untilCount(3)
    await sleep(NOTHING_COMES_MS)
    t.equal(rest.items.length, 3, 'a finished delivery is not delivered again')
  })

  await t.test('a paused consumer takes no jobs until it is resumed', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const runs = createMailbox<Delivery>()
    const consumer = await broker.queue.consume(async (delivery) => void runs.push(delivery), {
      queue: 'default',
      concurrency: 5,
    })
    await broker.queue.add(deliveries(1))
    await runs.untilCount(1)
    await consumer.pause()
    // A fetch that was in progress may still take a delivery.
    await broker.queue.add(deliveries(20))
    await sleep(700)
    t.ok(runs.items.length <= 6, `${runs.items.length} were taken`)
    await consumer.resume()
    await runs.untilCount(21)
    await consumer.stop()
  })

  await t.test('an idle consumer stops, though its fetch waits for a delivery', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const consumer = await broker.queue.consume(async () => {}, { queue: 'default', concurrency: 2 })
    await sleep(NOTHING_COMES_MS)
    await t.resolves(consumer.stop())
  })

  await t.test('consumers of several processes share the deliveries', async (t) => {
    const { broker, openAnother } = await openTestBroker(t, kind)
    const other = await openAnother()
    const runs = createMailbox<string>()
    const consume = (name: string) => async (delivery: Delivery) => {
      await sleep(2)
      runs.push(`${name} ${delivery.taskId}`)
    }
    await broker.queue.consume(consume('a'), { queue: 'default', concurrency: 2 })
    await other.queue.consume(consume('b'), { queue: 'default', concurrency: 2 })
    await broker.queue.add(deliveries(100))
    await runs.untilCount(100)
    await sleep(NOTHING_COMES_MS)
    t.equal(new Set(runs.items.map((run) => run.split(' ')[1])).size, 100)
    t.equal(runs.items.length, 100)
    t.strictSame([...new Set(runs.items.map((run) => run.slice(0, 1)))].sort(), ['a', 'b'])
  })
}

async function testEvents(t: Test, kind: BrokerKind): Promise<void> {
  await t.test('events of one publisher arrive in order, as they were published', async (t) => {
    const { broker, openAnother } = await openTestBroker(t, kind)
    const { mailbox, subscription } = await listenWithMailbox(await openAnother())
    const tasks = [taskInSlot(1), taskInSlot(2)]
    for (const task of tasks) await subscription.subscribe(task)
    t.ok(subscription.isUp())
    const published: string[] = []
    for (let version = 1; version <= 30; version += 3) {
      const versions = [version, version + 1, version + 2]
      const reason = 'naïve \u0000 “reason”\n'
      const events = tasks.flatMap((task) => versions.map((one) => aTransition(task, one, { reason })))
      published.push(...events.map((event) => `event ${event.taskId} ${event.version}`))
      await broker.events.publish(events)
    }
    await broker.events.publish([])
    await mailbox.untilCount(published.length)
    for (const task of tasks) t.strictSame(mailbox.items.filter(of(task)), published.filter(of(task)))
    t.equal(mailbox.items.length, published.length)
  })

  await t.test('only events of subscribed channels arrive', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const { mailbox, subscription } = await listenWithMailbox(broker)
    const [wanted, other] = [taskInSlot(10), taskInSlot(11)]
    await Promise.all([subscription.subscribe(wanted), subscription.subscribe(wanted)])
    await broker.events.publish([aTransition(other, 1), aTransition(wanted, 1)])
    await mailbox.untilCount(1)
    subscription.unsubscribe(wanted)
    await broker.events.publish([aTransition(other, 2), aTransition(wanted, 2)])
    await mailbox.untilCount(2)
    subscription.unsubscribe(wanted)
    await broker.events.publish([aTransition(wanted, 3)])
    await sleep(NOTHING_COMES_MS)
    t.strictSame(mailbox.items, [`event ${wanted} 1`, `event ${wanted} 2`], 'until the last of them has closed')
    await subscription.subscribe(wanted)
    await broker.events.publish([aTransition(wanted, 4)])
    await mailbox.untilCount(3)
  })

  await t.test('an event too large to be carried arrives as a hint', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const { mailbox, subscription } = await listenWithMailbox(broker)
    const task = taskInSlot(0)
    await subscription.subscribe(task)
    const result = 'ö'.repeat(2_900)
    await broker.events.publish([aTransition(task, 1, { result }), aTransition(task, 2, { result: result + result })])
    await mailbox.untilCount(2)
    t.strictSame(mailbox.items, [`event ${task} 1`, `hint ${task} 2`])
  })

  await t.test('a subscription to notices is visible to publishers as soon as it is acknowledged', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    // PostgreSQL cannot tell whether there are listeners, so it assumes that there are.
    t.equal(await broker.events.hasNoticeListeners(), kind.kind === 'postgres')
    const subscription = await broker.events.listen({ onEvent() {}, onHint() {}, onGap() {} })
    t.equal(await broker.events.hasNoticeListeners(), kind.kind === 'postgres')
    await subscription.subscribeNotices()
    t.equal(await broker.events.hasNoticeListeners(), true)
  })

  await t.test(
    'notices of all tasks arrive in order, however many and large, while they are subscribed to',
    async (t) => {
      const { broker } = await openTestBroker(t, kind)
      const notices = createMailbox<Notice>()
      const subscription = await broker.events.listen({
        onEvent() {},
        onHint() {},
        onGap() {},
        onNotices: (some) => some.forEach(notices.push),
      })
      const facts = {
        type: 'demo.sleep',
        queue: 'default',
        tags: ['ö'.repeat(50)],
        batchId: null,
        parentId: null,
        createdAt: '2026-11-20T21:22:23.456Z',
      }
      const noticeOf = (slot: number, version: number): Notice => ({
        taskId: taskInSlot(slot % 16),
        version,
        status: 'PENDING',
        facts,
      })
      await broker.events.publishNotices([noticeOf(0, 1)])
      await subscription.subscribeNotices()
      const created = Array.from({ length: 300 }, (_, index) => noticeOf(index, 1))
      await broker.events.publishNotices(created)
      const task = taskInSlot(7)
      const progress = { fraction: 0.5, done: null, total: null, message: null, at: '2026-11-20T21:22:23.456Z' }
      await broker.events.publish([
        { ...aTransition(task, 2, { result: 'x'.repeat(20_000) }), facts },
        { type: 'progress', taskId: task, status: 'PROCESSING', version: 2, attempt: 1, progress },
        {
          type: 'log',
          taskId: task,
          status: 'PROCESSING',
          version: 2,
          line: { seq: 1, attempt: 1, at: progress.at, level: 'info', text: 'no notice' },
        },
      ])
      await broker.events.publishNotices([])
      await notices.untilCount(302)
      subscription.unsubscribeNotices()
      await broker.events.publishNotices([noticeOf(1, 2)])
      await sleep(NOTHING_COMES_MS)
      t.strictSame(notices.items, [
        ...created,
        { taskId: task, version: 2, status: 'PROCESSING', facts },
        { taskId: task, version: 2, status: 'PROCESSING', isProgress: true },
      ])
    },
  )

  await t.test('a listener that throws misses only that event', async (t) => {
    const { broker, log } = await openTestBroker(t, kind)
    const versions = createMailbox<number>()
    const subscription = await broker.events.listen({
      onEvent(event) {
        versions.push(event.version)
        if (event.version === 1) throw new Error('cannot fold')
      },
      onHint: () => {},
      onGap: () => {},
    })
    const task = taskInSlot(15)
    await subscription.subscribe(task)
    await broker.events.publish([aTransition(task, 1), aTransition(task, 2)])
    await versions.untilCount(2)
    t.match(log.lines, [{ message: /an event could not be handled/, details: { reason: 'cannot fold' } }])
  })

  await t.test('a closed subscription and a closed broker are silent, and closing again is harmless', async (t) => {
    const { broker, openAnother } = await openTestBroker(t, kind)
    const { mailbox, subscription } = await listenWithMailbox(broker)
    const task = taskInSlot(3)
    await subscription.subscribe(task)
    await broker.ping()
    await subscription.close()
    await subscription.close()
    t.notOk(subscription.isUp())
    await broker.events.publish([aTransition(task)])
    t.equal(broker.close(), broker.close(), 'idempotent')
    await broker.close()
    await t.rejects(broker.events.publish([aTransition(task)]))
    await t.rejects(broker.queue.add([aDelivery()], { deadlineMs: 300 }))
    await t.rejects(broker.ping({ deadlineMs: 300 }))
    await (await openAnother()).events.publish([aTransition(task)])
    await sleep(NOTHING_COMES_MS)
    t.strictSame(mailbox.items, [])
  })
}

async function testClosing(t: Test, kind: BrokerKind): Promise<void> {
  await t.test('a broker closed in the middle of work leaves no connection open', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const { subscription } = await listenWithMailbox(broker)
    await subscription.subscribe(taskInSlot(9))
    const runs = createMailbox<Delivery>()
    const gate = createGate()
    t.teardown(gate.open)
    const hold = async (delivery: Delivery) => {
      runs.push(delivery)
      await gate.opened
    }
    await broker.queue.consume(hold, { queue: 'default', concurrency: 2 })
    await broker.queue.consume(async () => {}, { queue: 'default', concurrency: 2 }).then((consumer) => consumer.stop())
    await broker.queue.add(deliveries(4))
    await runs.untilCount(2)
    t.ok((await kind.countConnections()) >= 3)
    await broker.close()
    await sleep(NOTHING_COMES_MS)
    t.equal(await kind.countConnections(), 0)
  })
}

function of(task: string) {
  return (line: string) => line.includes(task)
}

function sorted(all: readonly Delivery[]): Delivery[] {
  return all.toSorted((a, b) => (a.taskId < b.taskId ? -1 : 1))
}
