/**
 * The worker role: takes deliveries from the broker and runs their attempts.
 *
 * Stop: take no new deliveries → give the running attempts their grace → abort their signals with `shutdown` and
 * release them, which does not count as a failure. A handler that ignores the signal is abandoned: its lease expires
 * and another worker takes over.
 *
 * An uncaught error of a handler fails its run, if the run can be identified: see `definitions/handler-scope.ts`.
 * Otherwise the process ends. The relay puts its attempts back, and the next time each of them runs alone.
 */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { createDiskFloor } from '../artifacts/disk-floor.js'
import { openArtifactStore } from '../artifacts/open-store.js'
import type { Broker } from '../broker/broker.js'
import { openBroker } from '../broker/open-broker.js'
import { createPublisher } from '../broker/publisher.js'
import type { WorkerConfig } from '../config.js'
import { openDatabase } from '../db/open.js'
import { loadRegistry } from '../handlers/load-registry.js'
import type { Log } from '../log.js'
import { assertFolderUsable, tightenFolder } from '../private-files.js'
import { setBasePath } from '../protocol/base-path.js'
import type { Settlement } from '../store/attempts/settle.js'
import { setDeclaredSchedules } from '../schedules/declared-schedules.js'
import { setDeclaredLimits } from '../tasks/release/declared-limits.js'
import { createRecorder } from '../tasks/attempt/recorder.js'
import { runAttemptInSlots } from '../tasks/attempt/run-attempt.js'
import { Releaser } from '../tasks/release/releaser.js'
import { settlesWithin } from '../timing/deadline.js'
import { planCapacity } from './capacity.js'
import { Pool } from './isolation/pool.js'
import { startLeases, type Leases } from './leases.js'
import { OutcomeCounts } from './outcome-counts.js'
import { Quarantine } from './quarantine.js'
import { consumeQueues } from './queues.js'
import { Registration } from './registration.js'
import { createSlots } from './slots.js'

/** How long a run has to react to its aborted signal before it is abandoned. */
const ABORT_GRACE_MS = 2_000

export interface RunningWorker {
  stop(): Promise<void>
  /** An error occurred that belongs to no run. Gives up the running attempts, for the relay to put back. */
  crash(): Promise<void>
}

/**
 * @param beforeJobs called when everything is loaded, before the first job is taken
 * @throws StartupError when task files, or e-mails without a mail server, cannot be stored
 */
export async function startWorker(config: WorkerConfig, log: Log, beforeJobs = () => {}): Promise<RunningWorker> {
  const leaseMs = config.attemptLeaseSeconds * 1_000
  setBasePath(config.basePath)
  const { registry, artifacts } = await loadTypes(config, log)
  const { db, handlerDb, broker, publisher, close } = await connect(config, log)
  const id = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`
  await setDeclaredLimits(db, registry)
  await setDeclaredSchedules(db, registry)
  const leases = startLeases({ db, leaseMs, log })
  const quarantine = new Quarantine({ db, log, forMs: config.quarantineSeconds * 1_000 })
  const capacity = planCapacity(registry, quarantine)
  const { scarce, maxProcesses } = capacity
  const recorder = createRecorder({ db, log, leaseMs, scarce, worker: id, publish: publisher.publish })
  const isolatedRuns = new Pool({ recorder, log, env: process.env, maxProcesses, maxBlockedMs: leaseMs })
  const releaser = new Releaser({ db, broker, publisher, log, claimWindowMs: config.claimWindowSeconds * 1_000 })
  const outcomes = new OutcomeCounts()
  const deps = {
    db,
    handlerDb,
    recorder,
    registry,
    log,
    artifacts,
    artifactTtlMs: config.artifactTtlHours * 3_600_000,
    isolatedRuns,
    quarantine,
    typeWindowMs: config.typeWindowSeconds * 1_000,
    cancelGraceMs: config.cancelGraceSeconds * 1_000,
    track: leases.track,
    wakeRelease: () => releaser.wake(),
    noteClaim: () => releaser.wakeAfterClaim(),
    noteOutcome: (type: string, settlement: Settlement) => outcomes.add(type, settlement),
  }
  await listenForCancels(broker, leases, log)
  const slots = createSlots({
    capacities: capacity.capacities,
    expectNeeds: capacity.expectNeeds,
    async start({ taskId, attempt }, held) {
      const lacking = await runAttemptInSlots({ taskId, attempt, slots: held }, deps)
      return lacking && capacity.needsOf(lacking.heldType, lacking.isSuspect)
    },
    resubmit: (delivery) => void consuming.then((consumer) => consumer.submit(delivery)),
  })
  beforeJobs()
  const consuming = consumeQueues({
    db,
    broker,
    registry,
    log,
    workerQueues: config.workerQueues,
    concurrency: config.workerConcurrency,
    run: slots.run,
    leave: slots.leave,
  })
  const consumer = await consuming
  const types = registry.all().map(({ definition }) => definition.type)
  const registration = new Registration({ id, db, log, leaseMs, types, consumer, outcomes, quarantine })

  let stopping: Promise<void> | undefined
  async function stop(): Promise<void> {
    registration.stopping()
    const drained = consumer.stop()
    await settlesWithin(drained, config.shutdownGraceSeconds * 1_000)
    leases.abortAll('shutdown')
    await settlesWithin(drained, ABORT_GRACE_MS)
    leases.stop()
    isolatedRuns.stop()
    await releaser.stop()
    await registration.end()
    await close()
  }
  async function crash(): Promise<void> {
    isolatedRuns.stop()
    await leases.giveUp()
  }
  return { stop: () => (stopping ??= stop()), crash }
}

/** Loads the task types, and opens what they write files to. */
async function loadTypes(config: WorkerConfig, log: Log) {
  const floor = createDiskFloor({ minFreeMb: config.minFreeDiskMb, folders: [], log })
  const registry = await loadRegistry({ ...config, floor })
  const artifacts = await openArtifactStore(config.artifactsDir, floor)
  await artifacts.prepare()
  if (config.smtpUrl === undefined) await prepareEmailFolder(config.emailDir)
  return { registry, artifacts }
}

/** Connects to PostgreSQL and the broker. */
async function connect({ databaseUrl, redisUrl }: WorkerConfig, log: Log) {
  const db = openDatabase(databaseUrl, { applicationName: 'taskwire worker' })
  // Handlers' queries may take minutes, and must not hold up claims and settlements.
  const handlerDb = openDatabase(databaseUrl, { applicationName: 'taskwire handlers' })
  const broker = await openBroker({ redisUrl, databaseUrl, log })
  const publisher = createPublisher({ bus: broker.events, log })
  async function close(): Promise<void> {
    await publisher.drain()
    await broker.close()
    await Promise.all([db.close(), handlerDb.close()])
  }
  return { db, handlerDb, broker, publisher, close }
}

async function prepareEmailFolder(folder: string): Promise<void> {
  await assertFolderUsable(
    folder,
    'the folder of EMAIL_DIR',
    'Set EMAIL_DIR to a folder that the user of this process can write to, or SMTP_URL to a mail server.',
  )
  await tightenFolder(folder, (name) => name.endsWith('.eml'))
}

/** The fast path of a cancellation. The slow one is the next renewal of the lease. */
async function listenForCancels(broker: Broker, leases: Leases, log: Log): Promise<void> {
  const renew = () =>
    leases.renewOnce().catch((error: unknown) => log.warn({ err: error }, 'leases were not renewed; trying again'))
  const subscription = await broker.events.listen({
    onEvent: ({ taskId, ...event }) => 'attempt' in event && leases.cancel({ taskId, attempt: event.attempt }),
    onHint: () => void renew(),
    onGap: () => void renew(),
  })
  await subscription
    .subscribeCancels()
    .catch((error: unknown) => log.warn({ err: error }, 'cancellations are delayed until the broker answers'))
}
