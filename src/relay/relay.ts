/**
 * The relay role: all work that no request and no attempt triggers. Each loop is safe to run in several relays at once,
 * so there is no leader.
 */
import { openArtifactStore } from '../artifacts/open-store.js'
import { openBroker } from '../broker/open-broker.js'
import { createPublisher } from '../broker/publisher.js'
import type { RelayConfig } from '../config.js'
import { openDatabase } from '../db/open.js'
import type { Log } from '../log.js'
import { Releaser } from '../tasks/release/releaser.js'
import { startInterval } from '../timing/interval.js'
import { startLoop, type Loop } from '../timing/loop.js'
import { breakOnce } from './break.js'
import { deliverOnce } from './deliver.js'
import { createPauseEnder } from './end-pauses.js'
import { expireOnce } from './expire.js'
import { createFilePruner } from './prune-files.js'
import { pruneOnce } from './prune.js'
import { reconcileOnce } from './reconcile.js'
import { repairOnce } from './repair.js'
import { rescueOnce } from './rescue.js'
import { scheduleOnce } from './schedule.js'

const EXPIRE_INTERVAL_MS = 1_000
const RESCUE_INTERVAL_MS = 1_000
const RECONCILE_INTERVAL_MS = 1_000
const END_PAUSES_INTERVAL_MS = 1_000
const BREAK_INTERVAL_MS = 2_000
const REPAIR_INTERVAL_MS = 60_000
const PRUNE_INTERVAL_MS = 60_000
const PRUNE_FILES_INTERVAL_MS = 3_600_000

export async function startRelay(config: RelayConfig, log: Log): Promise<{ stop(): Promise<void> }> {
  const db = openDatabase(config.databaseUrl, { applicationName: 'taskwire relay', maxConnections: 2 })
  const broker = await openBroker({ redisUrl: config.redisUrl, databaseUrl: config.databaseUrl, log })
  const artifacts = await openArtifactStore(config.artifactsDir)
  const publisher = createPublisher({ bus: broker.events, log })
  const deliver = {
    db,
    broker,
    publisher,
    log,
    claimWindowMs: config.claimWindowSeconds * 1_000,
    brokerWindow: config.brokerWindow,
  }
  const releaser = new Releaser({ ...deliver, isTimed: true })
  const releasing = startInterval(() => releaser.wake(), { everyMs: config.relayIntervalMs, onError: () => {} })
  const start = (name: string, step: () => Promise<boolean>, intervalMs: number, maxPauseMs?: number): Loop =>
    startLoop(step, {
      intervalMs,
      ...(maxPauseMs !== undefined && { maxPauseMs }),
      onError: (error, failures) => log.warn({ err: error, loop: name, failures }, 'a relay loop failed; trying again'),
      onRecovery: () => log.info({ loop: name }, 'the relay loop works again'),
    })
  const loops = [
    start('deliver', () => deliverOnce(deliver), config.relayIntervalMs),
    start('schedule', () => scheduleOnce({ ...deliver, releaser }), config.relayIntervalMs),
    start('expire', () => expireOnce(deliver), EXPIRE_INTERVAL_MS),
    start('rescue', () => rescueOnce({ ...deliver, maxLostAttempts: config.maxLostAttempts }), RESCUE_INTERVAL_MS),
    start('reconcile', () => reconcileOnce(deliver), RECONCILE_INTERVAL_MS, RECONCILE_INTERVAL_MS),
    start('end-pauses', createPauseEnder(deliver), END_PAUSES_INTERVAL_MS, END_PAUSES_INTERVAL_MS),
    start('prune-files', createFilePruner({ db, artifacts, log }), PRUNE_FILES_INTERVAL_MS),
    start('break', () => breakOnce({ db, log, breakerAttempts: config.breakerAttempts }), BREAK_INTERVAL_MS),
    start('repair', () => repairOnce(db, log), REPAIR_INTERVAL_MS),
    start('prune', () => pruneOnce(db, artifacts), PRUNE_INTERVAL_MS),
  ]

  let stopping: Promise<void> | undefined
  async function stop(): Promise<void> {
    releasing.stop()
    await Promise.all([releaser.stop(), ...loops.map((loop) => loop.stop())])
    await publisher.drain()
    await broker.close()
    await db.close()
  }
  return { stop: () => (stopping ??= stop()) }
}
