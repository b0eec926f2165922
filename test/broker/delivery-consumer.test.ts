/** Replaces a worker that no longer takes jobs, on the queues of both brokers. */
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Delivery } from '../../src/broker/broker.js'
import { openConsumer, type OpenConsumer } from '../../src/broker/delivery-consumer.js'
import { createIncidentLog } from '../../src/broker/incident-log.js'
import { openPostgresBroker } from '../../src/broker/postgres-broker.js'
import { openRedisBroker } from '../../src/broker/redis-broker.js'
import {
  type BrokerKind,
  canTestRedis,
  createGate,
  createLog,
  createMailbox,
  deliveries,
  startPostgresKind,
  startRedisKind,
} from './brokers.js'

function isOpenConsumer(consumer: object): consumer is OpenConsumer {
  return 'replaceWorker' in consumer
}

async function testReplacement(t: Test, kind: BrokerKind): Promise<void> {
  // Opened without the standby, which creates its own consumer.
  const { redisUrl, databaseUrl } = await kind.prepare()
  const log = createLog()
  const broker = await (redisUrl === undefined
    ? openPostgresBroker({ databaseUrl, log })
    : openRedisBroker({ redisUrl, log }))
  t.teardown(() => broker.close())
  const runs = createMailbox<Delivery>()
  const gate = createGate()
  let running = 0
  let most = 0
  const run = async (delivery: Delivery) => {
    running += 1
    most = Math.max(most, running)
    runs.push(delivery)
    await gate.opened
    running -= 1
  }
  const consumer = await broker.queue.consume(run, { queue: 'default', concurrency: 3 })
  if (!isOpenConsumer(consumer)) return void t.fail('a consumer can replace its worker')
  const added = deliveries(9)
  await broker.queue.add(added)
  await runs.untilCount(3)
  await consumer.replaceWorker()
  await sleep(300)
  t.equal(runs.items.length, 3, 'the runs of the old worker count')
  gate.open()
  await runs.untilCount(9)
  t.equal(most, 3)
  t.equal(new Set(runs.items.map((one) => one.taskId)).size, 9)
  await consumer.stop()
}

t.test(
  'a replaced worker’s runs continue, and the new worker stays within the concurrency: on PostgreSQL',
  async (t) => {
    await testReplacement(t, await startPostgresKind(t))
  },
)
t.test('a replaced worker’s runs continue, and the new worker stays within the concurrency: on Redis', async (t) => {
  if (await canTestRedis(t)) await testReplacement(t, await startRedisKind(t))
})

t.test('a worker that takes nothing while jobs wait and slots are free is replaced at the second check', async (t) => {
  let waiting: number | Error = 0
  let opened = 0
  let abandoned = 0
  let take: (delivery: Delivery) => Promise<void> = async () => {}
  const log = createLog()
  const consumer = await openConsumer({
    async openWorker(process) {
      opened += 1
      take = process
      const done = async () => {}
      return { isUp: () => true, close: done, pause: done, resume: done, abandon: async () => void (abandoned += 1) }
    },
    async countWaiting() {
      if (typeof waiting !== 'number') throw waiting
      return waiting
    },
    run: async () => {},
    concurrency: 1,
    incidents: createIncidentLog(log),
  })
  t.teardown(() => consumer.stop())
  const check = async (times: number) => {
    for (let i = 0; i < times; i += 1) await consumer.checkOnce()
    return opened
  }
  t.equal(await check(3), 1, 'nothing waits')
  waiting = new Error('down')
  t.equal(await check(3), 1, 'the broker does not answer')
  waiting = 5
  for (const delivery of deliveries(3)) {
    t.equal(await check(1), 1)
    await take(delivery)
  }
  t.equal(await check(1), 1, 'it takes jobs')
  t.equal(await check(1), 1, 'one check proves nothing')
  t.equal(await check(1), 2)
  t.equal(abandoned, 1)
  t.match(log.lines, [{ message: /takes no jobs although jobs are waiting/ }])
})
