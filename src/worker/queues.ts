/**
 * Decides which queues this worker serves. When the configuration names queues, only those, plus the internal ones if
 * the default queue is among them. Otherwise all queues: the default one, those known to the registry, and any other in
 * which deliveries wait (of tasks created in SQL). A poll every few seconds finds the latter, so that no queue is
 * without a worker by mistake.
 */
import type { Broker, Consumer, Delivery } from '../broker/broker.js'
import { readWorkerQueues } from '../config/shared.js'
import type { Database } from '../db/database.js'
import { DEFAULT_QUEUE } from '../definitions/definition.js'
import type { Registry } from '../definitions/registry.js'
import type { Log } from '../log.js'
import { listWaitingQueues } from '../store/deliveries/take-due.js'
import { startInterval } from '../timing/interval.js'

const POLL_INTERVAL_MS = 2_000

export interface QueuesOptions {
  db: Database
  broker: Broker
  registry: Registry
  log: Log
  /** E.g. `reports:4,emails:16`; empty for all queues. */
  workerQueues: string
  /** Concurrency of each queue for which nothing else is configured. */
  concurrency: number
  run(delivery: Delivery): Promise<void>
}

/** Consumes all queues, as one consumer. Rejects when the broker cannot be reached. */
export async function consumeQueues(options: QueuesOptions): Promise<Consumer> {
  const { db, broker, registry, log, workerQueues, concurrency, run } = options
  const named = readWorkerQueues(workerQueues)
  const limits = registry.limitsByQueue()
  const consumers = new Map<string, Consumer>()
  let isPaused = false
  let stopping: Promise<void> | undefined

  async function serve(queue: string): Promise<void> {
    if (consumers.has(queue)) return
    // An internal queue has its own slots, beside those of the tasks that clients create.
    const usual = registry.internalQueues.get(queue) ?? concurrency
    const most = Math.min(named.get(queue) ?? usual, limits.get(queue) ?? Infinity)
    const consumer = await broker.queue.consume(run, { queue, concurrency: most })
    consumers.set(queue, consumer)
    if (isPaused) await consumer.pause()
    if (stopping !== undefined) await consumer.stop()
  }

  async function pollQueues(): Promise<void> {
    for (const queue of await listWaitingQueues(db)) {
      if (consumers.has(queue) || stopping !== undefined) continue
      log.info({ queue }, 'serving a queue that is not configured; add it to QUEUES')
      await serve(queue)
    }
  }

  const first = named.size > 0 ? named.keys() : registry.queues
  for (const queue of first) await serve(queue)
  // Operators name the queues of their tasks. Queues of the server's own tasks need not be named.
  if (named.size === 0 || named.has(DEFAULT_QUEUE))
    for (const queue of registry.internalQueues.keys()) await serve(queue)

  const onError = (error: unknown) => log.warn({ err: error }, 'waiting queues could not be listed; trying again')
  const polling = named.size > 0 ? undefined : startInterval(pollQueues, { everyMs: POLL_INTERVAL_MS, onError })

  const all = (act: (consumer: Consumer) => Promise<void>) =>
    Promise.all([...consumers.values()].map(act)).then(() => {})
  return {
    pause() {
      isPaused = true
      return all((consumer) => consumer.pause())
    },
    resume() {
      isPaused = false
      return all((consumer) => consumer.resume())
    },
    submit: (delivery) => consumers.get(delivery.queue)?.submit(delivery),
    stop() {
      polling?.stop()
      stopping ??= all((consumer) => consumer.stop())
      return stopping
    },
  }
}
