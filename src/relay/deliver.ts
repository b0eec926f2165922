/**
 * Dispatches deliveries to the broker that were due later, or that no worker claimed in time.
 *
 * Order, for each queue: ask the broker how many jobs it holds → take due deliveries, at most as many as fit into the
 * window → add them to the broker and publish. After a crash or a failed dispatch following the take, the delivery is due
 * again one claim window later.
 */
import type { Broker } from '../broker/broker.js'
import type { Publisher } from '../broker/publisher.js'
import { crashPoint } from '../crash-point.js'
import type { Database } from '../db/database.js'
import { listWaitingQueues, takeDueDeliveries } from '../store/deliveries/take-due.js'

/** Most deliveries taken by one statement. */
const MAX_TAKE = 1_000

export interface DeliverOptions {
  db: Database
  broker: Pick<Broker, 'queue'>
  publisher: Publisher
  claimWindowMs: number
  /** Most jobs of one queue that the broker may hold. */
  brokerWindow: number
}

/** Takes and dispatches once for each queue. True when there may be more. */
export async function deliverOnce(options: DeliverOptions): Promise<boolean> {
  const queues = await listWaitingQueues(options.db)
  const hasMore = await Promise.all(queues.map((queue) => deliverFrom(queue, options)))
  return hasMore.includes(true)
}

async function deliverFrom(
  queue: string,
  { db, broker, publisher, claimWindowMs, brokerWindow }: DeliverOptions,
): Promise<boolean> {
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
