/**
 * Deliveries over BullMQ, on either of its backends. BullMQ's retries, delays, schedules and history are not used:
 * PostgreSQL has all of those, and a job is removed when its run ends.
 *
 * - Each Taskwire queue is one BullMQ queue, opened on first use.
 * - The job of a delivery is named `<taskId>-a<attempt>`. While it exists, adding it again changes nothing.
 * - BullMQ takes jobs without a priority first, then 1, 2, 3 … Taskwire takes 9 first and 0 last, so it cannot use "no
 *   priority": priority p always becomes BullMQ's 10 - p. Among equals, the first added comes first. Measured cost: 4 %
 *   fewer jobs per second than with BullMQ's plain list.
 * - Every call to BullMQ has a deadline: some calls never settle, whatever BullMQ's options say.
 */
import { Queue, type BackendFactory, type IQueueBackend, type WorkerOptions } from 'bullmq'
import { MAX_PRIORITY } from '../protocol/limits.js'
import { settlesWithin, withDeadline } from '../timing/deadline.js'
import type { ConsumeOptions, Delivery, DeliveryQueue } from './broker.js'
import { openConsumer, type OpenConsumer, type OpenWorker } from './delivery-consumer.js'
import { DeliveryWorker, IDLE_WAIT_SECONDS } from './delivery-worker.js'
import { explain } from './explain.js'
import type { IncidentLog } from './incident-log.js'

const DEFAULT_QUEUE = 'default'
const JOB_NAME = 'attempt'
const DEADLINE_MS = 2_000
const OPEN_DEADLINE_MS = 5_000
const CLOSE_GRACE_MS = 1_000
/** Making a job takes 40 µs of this process. Adding jobs in batches lets other work run in between. */
const MAX_JOBS_PER_CALL = 200
/** BullMQ's own events are not used. Its PostgreSQL backend takes 0 for "keep all". */
const MAX_BULLMQ_EVENTS = 100

/**
 * How long a job is trusted without a heartbeat from its worker; BullMQ renews at half that time. Short, because the
 * lock also holds back jobs that a dead worker had taken but not claimed. Too short costs a refused claim.
 */
const LOCK_DURATION_MS = 6_000
const STALLED_CHECK_MS = 3_000
/** A job whose worker died is redelivered without limit: PostgreSQL decides what happens to the attempt. */
const MAX_STALLED_COUNT = 1_000_000
/** Pause after a refused connection. BullMQ's default of 15 s would prolong every outage by as much. */
const RETRY_PAUSE_MS = 500

/** What each BullMQ backend provides. */
export interface QueueBackend<B extends IQueueBackend, C> {
  factory: BackendFactory<B, C>
  /** Redis only: the prefix of its keys. */
  prefix: string
  connection: C
  /** Opens a connection for one worker. `isUp` reports its state where the backend knows it. */
  openWorkerConnection(concurrency: number): Promise<{ connection: C; isUp(): boolean; close(): void }>
}

export interface OpenDeliveryQueue extends DeliveryQueue {
  consume(run: (delivery: Delivery) => Promise<void>, options: ConsumeOptions): Promise<OpenConsumer>
  close(): Promise<void>
}

/** @throws Error when the server does not answer, or its BullMQ schema is missing */
export async function openDeliveryQueue<B extends IQueueBackend, C>(
  backend: QueueBackend<B, C>,
  incidents: IncidentLog,
): Promise<OpenDeliveryQueue> {
  type BullQueue = Queue<Delivery, void, string, Delivery, void, string, B, C>
  const consumers = new Set<OpenConsumer>()
  const queues = new Map<string, Promise<BullQueue>>()

  function queueOf(name: string): Promise<BullQueue> {
    const known = queues.get(name)
    if (known !== undefined) return known
    const opening = openQueue(name)
    queues.set(name, opening)
    // Forget a queue that failed to open, so that the next call tries again.
    opening.catch(() => queues.delete(name))
    return opening
  }

  async function openQueue(name: string): Promise<BullQueue> {
    const queue: BullQueue = new Queue(bullNameOf(name), queueOptions(backend), backend.factory)
    queue.on('error', (error) => incidents.warn('the queue failed', error))
    try {
      await withDeadline(queue.waitUntilReady(), OPEN_DEADLINE_MS, 'no answer')
      return queue
    } catch (error) {
      await settlesWithin(queue.close(), CLOSE_GRACE_MS)
      throw error
    }
  }

  /** A single job goes through `add`, which takes a third of the time on BullMQ's PostgreSQL backend. */
  async function addJobs(name: string, jobs: readonly ReturnType<typeof jobOf>[]): Promise<unknown> {
    const queue = await queueOf(name)
    const [first, second] = jobs
    if (first === undefined || second !== undefined) return queue.addBulk([...jobs])
    return queue.add(first.name, first.data, first.opts)
  }

  async function countJobs(name: string): Promise<number> {
    const counts = await (await queueOf(name)).getJobCounts('waiting', 'prioritized')
    return (counts['waiting'] ?? 0) + (counts['prioritized'] ?? 0)
  }

  const countWaiting = (name: string) => ask('count jobs', countJobs(name), DEADLINE_MS)

  async function addTo(name: string, deliveries: readonly Delivery[], endsAt: number): Promise<void> {
    for (let start = 0; start < deliveries.length; start += MAX_JOBS_PER_CALL) {
      const jobs = deliveries.slice(start, start + MAX_JOBS_PER_CALL).map(jobOf)
      await ask('take the deliveries', addJobs(name, jobs), endsAt - performance.now())
    }
  }

  await queueOf(DEFAULT_QUEUE)
  return {
    countWaiting,
    async add(deliveries, { deadlineMs = DEADLINE_MS } = {}) {
      const endsAt = performance.now() + deadlineMs
      for (const [name, ofQueue] of groupByQueue(deliveries)) await addTo(name, ofQueue, endsAt)
    },
    async consume(run, { queue, concurrency }) {
      const consumer = await openConsumer({
        openWorker: (process) => openWorker(backend, bullNameOf(queue), concurrency, process, incidents),
        countWaiting: () => countWaiting(queue),
        run,
        concurrency,
        incidents,
      })
      consumers.add(consumer)
      return consumer
    },
    async close() {
      await Promise.all([...consumers].map((consumer) => consumer.abandon()))
      const opened = await Promise.all([...queues.values()].map((opening) => opening.catch(() => undefined)))
      await Promise.all(opened.map((queue) => queue && settlesWithin(queue.close(), CLOSE_GRACE_MS)))
    },
  }
}

function bullNameOf(queue: string): string {
  return queue === DEFAULT_QUEUE ? 'deliveries' : `deliveries-${queue}`
}

/** Usually there is only one queue. */
function groupByQueue(deliveries: readonly Delivery[]): Map<string, Delivery[]> {
  const groups = new Map<string, Delivery[]>()
  for (const delivery of deliveries) {
    const group = groups.get(delivery.queue)
    if (group) group.push(delivery)
    else groups.set(delivery.queue, [delivery])
  }
  return groups
}

/** Errors of BullMQ's clients carry whole commands; this turns them into one line. */
async function ask<T>(what: string, work: Promise<T>, deadlineMs: number): Promise<T> {
  try {
    return await withDeadline(work, deadlineMs, 'no answer in time')
  } catch (error) {
    throw explain(`the broker did not ${what}`, error)
  }
}

function jobOf(delivery: Delivery) {
  const { taskId, attempt, queue, priority } = delivery
  const opts = { jobId: `${taskId}-a${attempt}`, priority: MAX_PRIORITY + 1 - priority }
  return { name: JOB_NAME, data: { taskId, attempt, queue, priority }, opts }
}

function queueOptions<B extends IQueueBackend, C>({ connection, prefix }: QueueBackend<B, C>) {
  return {
    connection,
    prefix,
    skipVersionCheck: true,
    streams: { events: { maxLen: MAX_BULLMQ_EVENTS } },
    defaultJobOptions: { attempts: 1, removeOnComplete: true, removeOnFail: true },
  }
}

async function openWorker<B extends IQueueBackend, C>(
  backend: QueueBackend<B, C>,
  name: string,
  concurrency: number,
  process: (delivery: Delivery) => Promise<void>,
  incidents: IncidentLog,
): Promise<OpenWorker> {
  const link = await backend.openWorkerConnection(concurrency)
  const options: WorkerOptions<C> = {
    connection: link.connection,
    prefix: backend.prefix,
    skipVersionCheck: true,
    concurrency,
    drainDelay: IDLE_WAIT_SECONDS,
    lockDuration: LOCK_DURATION_MS,
    stalledInterval: STALLED_CHECK_MS,
    maxStalledCount: MAX_STALLED_COUNT,
    runRetryDelay: RETRY_PAUSE_MS,
  }
  const worker = new DeliveryWorker(name, (job) => process(job.data), options, backend.factory)
  worker.on('error', (error) => incidents.warn('the worker failed', error))
  const abandon = async () => {
    await worker.abandon()
    link.close()
  }
  try {
    await withDeadline(worker.waitUntilReady(), OPEN_DEADLINE_MS, 'no answer')
  } catch (error) {
    await abandon()
    throw error
  }
  return {
    isUp: link.isUp,
    close: () => worker.close(),
    pause: () => worker.pause(true),
    resume: async () => worker.resume(),
    abandon,
  }
}
