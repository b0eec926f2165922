/** Deliveries are redelivered after their broker has lost its data. */
import t from 'tap'
import { redeliverIfNewEpoch } from '../../src/store/deliveries/redeliver.js'
import { takeDueDeliveries } from '../../src/store/deliveries/take-due.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const WINDOW_MS = 60_000

t.test('deliveries dispatched to a broker that lost its data are due again, once; later starts are not', async (t) => {
  const db = await openTestDatabase(t, (await startPostgres(t)).url)
  t.equal(await redeliverIfNewEpoch(db, 'redis', 'first', WINDOW_MS), 0, 'the first epoch is new')
  const handedOver = await storeTasks(db, 3)
  const later = await storeTasks(db, 2, { delayMs: 30_000 })
  t.equal(await redeliverIfNewEpoch(db, 'redis', 'first', WINDOW_MS), undefined, 'nothing has changed')
  t.same((await takeDueDeliveries(db, 'default', 10, WINDOW_MS)).deliveries, [])
  const found = await Promise.all([1, 2, 3].map(() => redeliverIfNewEpoch(db, 'redis', 'second', WINDOW_MS)))
  t.same(
    found.filter((count) => count !== undefined),
    [3],
    'only one of several relays makes them due',
  )
  const { deliveries } = await takeDueDeliveries(db, 'default', 10, WINDOW_MS)
  t.same(deliveries.map(({ taskId }) => taskId).sort(), handedOver.sort())
  t.notOk(deliveries.some(({ taskId }) => later.includes(taskId)))
  t.equal(await redeliverIfNewEpoch(db, 'redis', 'third', WINDOW_MS), 3, 'those that the relay has dispatched, too')
  t.equal((await takeDueDeliveries(db, 'default', 10, WINDOW_MS)).deliveries.length, 3)
  t.equal(await redeliverIfNewEpoch(db, 'postgres', 'third', WINDOW_MS), 3, 'each broker has its own epoch')
})
