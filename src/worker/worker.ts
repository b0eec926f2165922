/**
 * The worker role: takes deliveries from the broker and runs their attempts.
 *
 * Stop: no new deliveries, then the runs under way get their grace, then their signals abort with `shutdown` and they
 * are handed back without counting as a failure. A handler that ignores even that is left behind: its lease runs out and
 * another worker takes over.
 */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { FastifyBaseLogger } from 'fastify'
import { openBroker } from '../broker/open-broker.js'
import type { WorkerConfig } from '../config.js'
import { openDatabase } from '../db/open.js'
import { loadRegistry } from '../handlers/index.js'
import { runAttempt } from '../tasks/attempt.js'
import { createRecorder } from '../tasks/recorder.js'
import { watchDatabase } from './database-watch.js'
import { startLeases } from './leases.js'
import { watchLoop } from './loop-watch.js'

/** How long a run has to notice that its signal aborted, before it is left behind. */
const ABORT_GRACE_MS = 2_000
/** A handler that holds up all others for so long is named in the log. */
const LOOP_WARNING_MS = 1_000

export async function startWorker(config: WorkerConfig, log: FastifyBaseLogger): Promise<{ stop(): Promise<void> }> {
  const leaseMs = config.attemptLeaseSeconds * 1_000
  const registry = await loadRegistry(config)
  const db = openDatabase(config.databaseUrl, { applicationName: 'taskwire worker' })
  const broker = await openBroker({ redisUrl: config.redisUrl, databaseUrl: config.databaseUrl, log })
  const leases = startLeases({ db, leaseMs, log })
  const recorder = createRecorder({
    db,
    log,
    leaseMs,
    worker: `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`,
    publish: (events) => broker.events.publish(events),
  })
  const deps = { db, recorder, registry, log, track: leases.track }
  const consumer = await broker.queue.consume(({ taskId, attempt }) => runAttempt({ taskId, attempt }, deps), {
    concurrency: config.workerConcurrency,
  })
  const loopWatch = watchLoop({ warnAfterMs: LOOP_WARNING_MS, killAfterMs: leaseMs, logLevel: config.logLevel }, log)
  const databaseWatch = watchDatabase({ db, log, onDown: () => consumer.pause(), onUp: () => consumer.resume() })

  let stopping: Promise<void> | undefined
  async function stop(): Promise<void> {
    databaseWatch.stop()
    const drained = consumer.stop()
    await settledWithin(drained, config.shutdownGraceSeconds * 1_000)
    leases.abortAll('shutdown')
    await settledWithin(drained, ABORT_GRACE_MS)
    leases.stop()
    await Promise.all([broker.close(), loopWatch.stop()])
    await db.close()
  }
  return { stop: () => (stopping ??= stop()) }
}

async function settledWithin(work: Promise<void>, milliseconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<void>((resolve) => (timer = setTimeout(resolve, milliseconds)))
  await Promise.race([work.catch(() => {}), timeout])
  clearTimeout(timer)
}
