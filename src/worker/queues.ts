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
import type { WorkerQueue } from '../protocol/worker.js'
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
  /** Called instead of `run` while the worker drains. */
  leave(delivery: Delivery): void
}

/**
 * Why a worker takes no jobs. While PostgreSQL is away, deliveries that were fetched before still try to start. A
 * draining worker starts nothing: it leaves them to the relay, which redelivers them to another.
 */
export type PauseReason = 'PostgreSQL is away' | 'draining'

/** All queues of the worker as one consumer. */
export interface QueueConsumer extends Pick<Consumer, 'submit' | 'stop'> {
  /** Takes no more jobs until `resume` was called for each reason. Running jobs continue. */
  pause(reason: PauseReason): Promise<void>
  resume(reason: PauseReason): Promise<void>
  /** The queues that the worker serves, and how busy it is with each. */
  readQueues(): WorkerQueue[]
}

/** Consumes all queues. Rejects when the broker cannot be reached. */
export async function consumeQueues(options: QueuesOptions): Promise<QueueConsumer> {
  const { db, broker, registry, log, workerQueues, concurrency, run, leave } = options
  const named = readWorkerQueues(workerQueues)
  const limits = registry.limitsByQueue()
  const consumers = new Map<string, Consumer>()
  const loads = new Map<string, WorkerQueue>()
  const pauseReasons = new Set<PauseReason>()
  let stopping: Promise<void> | undefined

  async function serve(queue: string): Promise<void> {
    if (consumers.has(queue)) return
    // An internal queue has its own slots, beside those of the tasks that clients create.
    const usual = registry.internalQueues.get(queue) ?? concurrency
    const most = Math.min(named.get(queue) ?? usual, limits.get(queue) ?? Infinity)
    const load = { name: queue, slots: most, running: 0 }
    const consumer = await broker.queue.consume((delivery) => runCounted(delivery, load), { queue, concurrency: most })
    consumers.set(queue, consumer)
    loads.set(queue, load)
    if (pauseReasons.size > 0) await consumer.pause()
    if (stopping !== undefined) await consumer.stop()
  }

  async function runCounted(delivery: Delivery, load: WorkerQueue): Promise<void> {
    if (pauseReasons.has('draining')) return leave(delivery)
    load.running += 1
    await run(delivery).finally(() => (load.running -= 1))
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
    readQueues: () => [...loads.values()],
    pause(reason) {
      pauseReasons.add(reason)
      return all((consumer) => consumer.pause())
    },
    async resume(reason) {
      pauseReasons.delete(reason)
      if (pauseReasons.size === 0) await all((consumer) => consumer.resume())
    },
    submit: (delivery) => consumers.get(delivery.queue)?.submit(delivery),
    stop() {
      polling?.stop()
      stopping ??= all((consumer) => consumer.stop())
      return stopping
    },
  }
}
