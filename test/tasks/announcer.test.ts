/** Lists receive a notice of every new task that they could miss, and no notices are sent while there are no lists. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createPublisher } from '../../src/broker/publisher.js'
import type { NewTask } from '../../src/store/tasks/create.js'
import { announceTasks } from '../../src/tasks/create/announcer.js'
import {
  canTestRedis,
  createLog,
  openTestBroker,
  startPostgresKind,
  startRedisKind,
  type BrokerKind,
} from '../broker/brokers.js'
import { newTask } from '../helpers/database.js'

const CREATES = 300
const SUBSCRIBED_AT = 100
const PAUSE_MS = 2

const created = ({ id }: NewTask) => ({ id, status: 'PENDING' as const, runAt: null, createdAt: new Date() })

t.test('on PostgreSQL', async (t) => testSubscription(t, await startPostgresKind(t)))
t.test('on Redis', async (t) => {
  if (!(await canTestRedis(t))) return
  const kind = await startRedisKind(t)
  await testSubscription(t, kind)

  await t.test('while no process is subscribed, nothing is published, however many tasks are created', async (t) => {
    const { broker } = await openTestBroker(t, kind)
    const redis = new Redis(kind.server.url)
    t.teardown(() => redis.disconnect())
    await redis.config('RESETSTAT')
    const publisher = createPublisher({ bus: broker.events, log: createLog() })
    for (let count = 0; count < CREATES; count += 1) {
      const task = newTask()
      announceTasks(publisher, [task], [created(task)])
      if (count % 10 === 0) await sleep(PAUSE_MS)
    }
    await publisher.drain()
    const stats = await redis.info('commandstats')
    t.match(stats, 'cmdstat_pubsub', 'the publisher checked for listeners')
    t.notMatch(stats, 'cmdstat_publish')
  })
})

async function testSubscription(t: Test, kind: BrokerKind): Promise<void> {
  await t.test(
    'a list that opens during creates receives notices of all tasks created after its subscription',
    async (t) => {
      const { broker } = await openTestBroker(t, kind)
      const publisher = createPublisher({ bus: broker.events, log: createLog() })
      const heard = new Set<string>()
      const subscription = await broker.events.listen({
        onEvent() {},
        onHint() {},
        onGap() {},
        onNotices: (notices) => notices.forEach(({ taskId }) => heard.add(taskId)),
      })
      const owed: string[] = []
      let isSubscribed = false
      for (let count = 0; count < CREATES; count += 1) {
        // The acknowledgement arrives between two creates, at any point between two checks for listeners.
        if (count === SUBSCRIBED_AT) void subscription.subscribeNotices().then(() => (isSubscribed = true))
        const task = newTask()
        if (isSubscribed) owed.push(task.id)
        announceTasks(publisher, [task], [created(task)])
        await sleep(PAUSE_MS)
      }
      while (!isSubscribed) await sleep(PAUSE_MS)
      const last = newTask()
      announceTasks(publisher, [last], [created(last)])
      while (!heard.has(last.id)) await sleep(PAUSE_MS)
      t.ok(owed.length > 0)
      t.strictSame(
        owed.filter((id) => !heard.has(id)),
        [],
      )
      await publisher.drain()
    },
  )
}
