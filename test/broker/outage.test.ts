/** The guarantees of both brokers while their server is away, and after it is back. */
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Delivery } from '../../src/broker/broker.js'
import { migrateBroker, openBroker } from '../../src/broker/open-broker.js'
import { isDeep } from '../helpers/depth.js'
import {
  aDelivery,
  aTransition,
  type BrokerKind,
  canTestRedis,
  createGate,
  createLog,
  createMailbox,
  deliveries,
  listenWithMailbox,
  NOWHERE,
  openTestBroker,
  startPostgresKind,
  startRedisKind,
  taskInSlot,
} from './brokers.js'

/** A server that went down takes a while to come back on a busy machine. */
const RECOVERY_MS = 240_000

t.test('on PostgreSQL', async (t) => {
  const kind = await startPostgresKind(t)
  await t.test('an unreachable server is reported in one clear line, without the password', async (t) => {
    const options = { databaseUrl: NOWHERE.postgres, log: createLog() }
    const line = { message: 'cannot reach PostgreSQL at 127.0.0.1:1/nothing: connect ECONNREFUSED 127.0.0.1:1' }
    await t.rejects(openBroker(options), line)
    await t.rejects(migrateBroker(NOWHERE.postgres), line)
  })
  await testOutages(t, kind)
})

t.test('on Redis', async (t) => {
  if (!(await canTestRedis(t))) return
  const kind = await startRedisKind(t)
  await t.test('an unreachable server is reported in one clear line, without the password', async (t) => {
    const options = { redisUrl: NOWHERE.redis, databaseUrl: NOWHERE.postgres, log: createLog() }
    const message = 'cannot reach Redis at 127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1'
    await t.rejects(openBroker(options), { message })
  })
  await testOutages(t, kind)
  await t.test(
    'an idle consumer resumes after outages of 3, 12 and 40 s, which some versions of BullMQ do not',
    async (t) => {
      const goOnAfter = async (outageMs: number) => {
        const kind = await startRedisKind(t)
        const { broker } = await openTestBroker(t, kind)
        const runs = createMailbox<Delivery>()
        await broker.queue.consume(async (delivery) => runs.push(delivery), { queue: 'default', concurrency: 4 })
        await broker.queue.add([aDelivery()])
        await runs.untilCount(1)
        await kind.server.kill()
        await sleep(outageMs)
        await kind.server.start()
        await untilResolves(() => broker.queue.add([aDelivery()]))
        await runs.until((all) => all.length === 2, RECOVERY_MS)
      }
      await Promise.all((isDeep ? [3_000, 12_000, 40_000] : [3_000, 12_000]).map(goOnAfter))
    },
  )
  await t.test('a consumer continues after the broker lost all data, even while jobs are running', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const { runs, gate } = await consumeHeld(broker)
    await broker.queue.add(deliveries(5))
    await runs.untilCount(2)
    await kind.flush()
    gate.open()
    const later = deliveries(5)
    await broker.queue.add(later)
    await runs.until((all) => later.every((delivery) => all.some((run) => run.taskId === delivery.taskId)))
    t.equal(await broker.queue.countWaiting('default'), 0)
  })
})

async function testOutages(t: Test, kind: BrokerKind): Promise<void> {
  await testCutConnection(t, kind)
  await testDownServer(t, kind)
  await testFrozenServer(t, kind)
}

async function testCutConnection(t: Test, kind: BrokerKind): Promise<void> {
  await t.test('after the listening connection was cut, the gap is reported before events arrive again', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const { mailbox, subscription } = await listenWithMailbox(broker)
    const tasks = [taskInSlot(4), taskInSlot(5)]
    for (const task of tasks) await subscription.subscribe(task)
    for (let round = 1; round <= 3; round += 1) {
      await kind.cutListeners()
      await mailbox.until((all) => all.filter((line) => line === 'gap').length === round)
      t.ok(subscription.isUp())
      await broker.events.publish(tasks.map((task) => aTransition(task, round)))
      await mailbox.untilCount(round * 3)
    }
    t.strictSame(
      mailbox.items,
      [1, 2, 3].flatMap((round) => ['gap', ...tasks.map((task) => `event ${task} ${round}`)]),
    )
  })
}

async function testDownServer(t: Test, kind: BrokerKind): Promise<void> {
  await t.test('calls are refused quickly while the server is down, and work again when it is back', async (t) => {
    const { broker, log } = await openTestBroker(t, kind)
    const { mailbox, subscription } = await listenWithMailbox(broker)
    const [known, late] = [taskInSlot(6), taskInSlot(7)]
    await subscription.subscribe(known)
    const runs = createMailbox<Delivery>()
    await broker.queue.consume(async (delivery) => runs.push(delivery), { queue: 'default', concurrency: 4 })
    await broker.queue.add([aDelivery()])
    await runs.untilCount(1)

    await kind.server.kill()
    await sleep(100)
    await t.rejects(broker.ping())
    await t.rejects(broker.events.publish([aTransition(known)]))
    await t.rejects(broker.queue.add([aDelivery()], { deadlineMs: 400 }))
    await t.rejects(broker.queue.countWaiting('default'))
    t.notOk(subscription.isUp())
    await t.rejects(subscription.subscribe(late), { message: /not acknowledged/ })
    await t.rejects(broker.queue.consume(async () => {}, { queue: 'default', concurrency: 1 }))
    await t.rejects(listenWithMailbox(broker), { message: /^cannot reach / })

    await kind.server.start()
    await mailbox.until((all) => all.includes('gap'), RECOVERY_MS)
    await untilResolves(() => broker.ping())
    await untilResolves(() => broker.events.publish([aTransition(known, 8), aTransition(late, 9)]))
    await mailbox.until((all) => all.includes(`event ${known} 8`) && all.includes(`event ${late} 9`))
    // The refused subscription has been made up for: both events arrived, or the wait above would have failed.
    const next = aDelivery()
    await untilResolves(() => broker.queue.add([next]))
    await runs.until((all) => all.some((run) => run.taskId === next.taskId), RECOVERY_MS)
    t.ok(log.lines.length > 0 && log.lines.length < 40, 'the outage is logged without flooding the log')
    t.notMatch(JSON.stringify(log.lines), new URL(kind.server.url).password)
  })

  await t.test('a consumer whose server goes down lets its runs finish, then stops', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const { runs, gate, consumer } = await consumeHeld(broker)
    await broker.queue.add(deliveries(4))
    await runs.untilCount(2)
    await kind.server.kill()
    let isStopped = false
    const stopped = consumer.stop().then(() => (isStopped = true))
    await sleep(2_500)
    t.notOk(isStopped, 'stop waits for the run in progress')
    gate.open()
    await stopped
    t.equal(runs.items.length, 2)
    await t.resolves(broker.close(), 'the broker closes although its server is away')
    await kind.server.start()
  })
}

async function testFrozenServer(t: Test, kind: BrokerKind): Promise<void> {
  await t.test('a frozen server is detected: each call meets its deadline, and the subscription is down', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const { mailbox, subscription } = await listenWithMailbox(broker)
    const task = taskInSlot(8)
    await subscription.subscribe(task)
    const runs = createMailbox<Delivery>()
    await broker.queue.consume(async (delivery) => runs.push(delivery), { queue: 'default', concurrency: 4 })
    await kind.server.pause()
    t.teardown(() => kind.server.resume())

    // The server answers none of these calls. Each ends by its own deadline; otherwise this test would hang.
    await t.rejects(broker.ping({ deadlineMs: 300 }), { message: /does not answer/ })
    await t.rejects(broker.queue.add([aDelivery()], { deadlineMs: 400 }))
    await t.rejects(broker.events.publish([aTransition(task)]))
    // A connection that is open but dead is dropped.
    while (subscription.isUp()) await sleep(50)

    await kind.server.resume()
    await mailbox.until((all) => all.includes('gap'), RECOVERY_MS)
    await untilResolves(() => broker.events.publish([aTransition(task, 5)]))
    await mailbox.until((all) => all.includes(`event ${task} 5`))
    const next = aDelivery()
    await untilResolves(() => broker.queue.add([next]))
    await runs.until((all) => all.some((run) => run.taskId === next.taskId), RECOVERY_MS)
  })

  await t.test('a broker whose server is frozen stops and closes', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const { consumer, gate } = await consumeHeld(broker)
    await listenWithMailbox(broker)
    gate.open()
    await broker.queue.add(deliveries(3))
    await kind.server.pause()
    t.teardown(() => kind.server.resume())
    // The server no longer answers. Neither call waits for it; otherwise this test would hang.
    await t.resolves(consumer.stop())
    await t.resolves(broker.close())
  })
}

/** Starts runs that do not end before the gate opens. */
async function consumeHeld(broker: Awaited<ReturnType<typeof openBroker>>) {
  const runs = createMailbox<Delivery>()
  const gate = createGate()
  const run = async (delivery: Delivery) => {
    runs.push(delivery)
    await gate.opened
  }
  const consumer = await broker.queue.consume(run, { queue: 'default', concurrency: 2 })
  return { runs, gate, consumer }
}

async function untilResolves(work: () => Promise<unknown>): Promise<void> {
  const endsAt = performance.now() + RECOVERY_MS
  for (;;) {
    try {
      return void (await work())
    } catch (error) {
      if (performance.now() > endsAt) throw error
      await sleep(50)
    }
  }
}
