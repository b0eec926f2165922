/** The relay's steps while publishing fails: their changes in PostgreSQL do not wait for the publications. */
import { pino } from 'pino'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { Broker, Delivery } from '../../src/broker/broker.js'
import { createPublisher } from '../../src/broker/publisher.js'
import { deliverOnce } from '../../src/relay/deliver.js'
import { expireOnce } from '../../src/relay/expire.js'
import { rescueOnce } from '../../src/relay/rescue.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { readTasks } from '../../src/store/reads/tasks.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const log = pino({ level: 'silent' })

t.test('a step succeeds even when its events cannot be published', async (t) => {
  const db = await openTestDatabase(t, (await startPostgres(t)).url)
  const handed: Delivery[] = []
  const broker = {
    queue: {
      add: async (deliveries: readonly Delivery[]) => void handed.push(...deliveries),
      countWaiting: async () => 0,
    },
    events: { publish: () => Promise.reject(new Error('Redis is away')) },
  } as unknown as Broker
  const publisher = createPublisher({ bus: broker.events, log })
  const statusOf = async (id: string) => (await readTasks(DEFAULT_PRINCIPAL, db, [id]))[0]?.status

  const [late = ''] = await storeTasks(db, 1, { more: { expiresAt: new Date(0).toISOString() } })
  t.equal(await expireOnce({ db, publisher }), false)
  t.equal(await statusOf(late), 'EXPIRED')

  const [lost = ''] = await storeTasks(db, 1)
  await claimAttemptsIfDue(db, [{ taskId: lost, attempt: 1 }], 'gone', -1)
  t.equal(await rescueOnce({ db, publisher, log, maxLostAttempts: 3 }), false)
  t.equal(await statusOf(lost), 'PENDING')

  const [scheduled = ''] = await storeTasks(db, 1, { delayMs: 1 })
  while ((await statusOf(scheduled)) === 'SCHEDULED')
    await deliverOnce({ db, broker, publisher, claimWindowMs: 60_000, brokerWindow: 100 })
  t.ok(handed.some(({ taskId }) => taskId === scheduled))
})
