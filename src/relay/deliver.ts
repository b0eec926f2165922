/**
 * Hands deliveries to the broker that are due later, or that nobody claimed in time.
 *
 * Order, for each queue: see that the broker answers and how many jobs it holds → take what is due, at most what fits into the window →
 * publish and hand over. A crash or a lost hand-over after the take costs one claim window: the delivery is due again.
 */
import type { Broker } from '../broker/broker.js'
import type { Publisher } from '../broker/publisher.js'
import { crashPoint } from '../crash-point.js'
import type { Database } from '../db/database.js'
import { listWaitingQueues, takeDueDeliveries } from '../store/deliveries/take-due.js'

/** Deliveries taken by one statement at most. */
const MAX_TAKE = 1_000

export interface DeliverOptions {
  db: Database
  broker: Pick<Broker, 'queue'>
  publisher: Publisher
  claimWindowMs: number
  /** Jobs of one queue that the broker may hold. */
  brokerWindow: number
}

/** One take and hand-over for each queue. True when there may be more. */
export async function deliverOnce(options: DeliverOptions): Promise<boolean> {
  const queues = await listWaitingQueues(options.db)
  const hasMore = await Promise.all(queues.map((queue) => deliverFrom(queue, options)))
  return hasMore.includes(true)
}

async function deliverFrom(queue: string, { db, broker, publisher, claimWindowMs, brokerWindow }: DeliverOptions): Promise<boolean> {
  const free = brokerWindow - (await broker.queue.countWaiting(queue))
  const limit = Math.min(free, MAX_TAKE)
  if (limit <= 0) return false
  const { deliveries, transitions } = await takeDueDeliveries(db, queue, limit, claimWindowMs)
  if (deliveries.length === 0) return false
  crashPoint('relay:after-take')
  await broker.queue.add(deliveries)
  crashPoint('relay:after-hand-over')
  publisher.publish(transitions)
  return deliveries.length === limit
}
