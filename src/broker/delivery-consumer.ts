/**
 * Runs deliveries with a BullMQ worker, and replaces the worker when it is stuck.
 *
 * - At most `concurrency` runs at a time. Runs are counted here, so those of a replaced worker count too.
 * - A run that rejects ends like one that resolves: the job is removed. PostgreSQL decides what happens to the task.
 * - BullMQ has had workers that stay "running" but take nothing after an outage (BullMQ issue 4585 and similar). When
 *   jobs wait, a slot is free and nothing has started for two checks in a row, a new worker takes over. Jobs held by
 *   the old one are redelivered when their lock expires; the claim in PostgreSQL makes that harmless.
 * - `stop`: fetch nothing more → wait for the running deliveries, however long they take → remove their jobs from the
 *   broker, or, when it does not answer within two seconds, leave them to be redelivered.
 */
import { settlesWithin } from '../timing/deadline.js'
import { startInterval } from '../timing/interval.js'
import { Limit } from '../timing/limit.js'
import type { Consumer, Delivery } from './broker.js'
import type { IncidentLog } from './incident-log.js'

const CHECK_INTERVAL_MS = 5_000
const CHECKS_BEFORE_REPLACEMENT = 2
const STOP_GRACE_MS = 2_000

/** A worker and its connections. */
export interface OpenWorker {
  isUp(): boolean
  /**
   * Takes no more jobs and resolves when the running ones are done and recorded. May wait forever for a lost server.
   */
  close(): Promise<void>
  pause(): Promise<void>
  resume(): Promise<void>
  /** Closes everything at once. Idempotent. */
  abandon(): Promise<void>
}

export interface ConsumerOptions {
  openWorker(process: (delivery: Delivery) => Promise<void>): Promise<OpenWorker>
  countWaiting(): Promise<number>
  run(delivery: Delivery): Promise<void>
  concurrency: number
  incidents: IncidentLog
}

export interface OpenConsumer extends Consumer {
  /** Replaces the worker when this check and the previous one found it stuck. Called by a timer. */
  checkOnce(): Promise<void>
  replaceWorker(): Promise<void>
  /** Stops without waiting for runs or for the server. */
  abandon(): Promise<void>
}

export async function openConsumer(options: ConsumerOptions): Promise<OpenConsumer> {
  const { countWaiting, incidents, concurrency } = options
  const runs = createRuns(options)
  let worker = await options.openWorker(runs.process)
  let startsAtLastCheck = 0
  let suspicions = 0
  let stopping: Promise<void> | undefined
  let isPaused = false

  async function checkOnce(): Promise<void> {
    const isQuiet = !isPaused && runs.startCount() === startsAtLastCheck && runs.count() < concurrency
    startsAtLastCheck = runs.startCount()
    // An unanswered count means an outage, which the worker's connections handle themselves.
    const isStuck = isQuiet && (await countWaiting().catch(() => 0)) > 0
    suspicions = isStuck ? suspicions + 1 : 0
    if (suspicions < CHECKS_BEFORE_REPLACEMENT) return
    suspicions = 0
    incidents.warn(
      'the worker takes no jobs although jobs are waiting; replacing it',
      new Error('the BullMQ worker is stuck'),
    )
    await replaceWorker()
  }

  async function replaceWorker(): Promise<void> {
    const replacement = await options.openWorker(runs.process)
    if (stopping !== undefined) return replacement.abandon()
    const old = worker
    worker = replacement
    if (isPaused) await worker.pause()
    await old.abandon()
  }

  async function stopOnce(): Promise<void> {
    checking.stop()
    const closed = worker.isUp() ? worker.close() : worker.pause()
    // A job that was being fetched may still start, so only a grace period without runs is the end.
    do {
      await runs.whenIdle()
      if (await settlesWithin(closed, STOP_GRACE_MS)) break
    } while (runs.count() > 0)
    await runs.whenIdle()
    await worker.abandon()
  }

  const checking = startInterval(checkOnce, {
    everyMs: CHECK_INTERVAL_MS,
    isBackground: true,
    onError: (error) => incidents.warn('the worker could not be replaced; trying again', error),
  })

  return {
    checkOnce,
    replaceWorker,
    async pause() {
      isPaused = true
      await worker.pause()
    },
    async resume() {
      isPaused = false
      if (stopping === undefined) await worker.resume()
    },
    submit(delivery) {
      if (stopping === undefined) void runs.process(delivery)
    },
    stop: () => (stopping ??= stopOnce()),
    async abandon() {
      checking.stop()
      stopping ??= Promise.resolve()
      await worker.abandon()
    },
  }
}

/** Counts the runs and limits their number. */
function createRuns({ run, concurrency, incidents }: ConsumerOptions) {
  const limit = new Limit(concurrency)
  let startCount = 0

  async function start(delivery: Delivery): Promise<void> {
    startCount += 1
    try {
      await run(delivery)
    } catch (error) {
      incidents.warn('a delivery failed to run; its row stays and will be redelivered', error)
    }
  }

  return {
    count: () => limit.underWay,
    startCount: () => startCount,
    whenIdle: () => limit.whenIdle(),
    process: (delivery: Delivery) => limit.run(() => start(delivery)),
  }
}
