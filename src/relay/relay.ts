/**
 * The relay role: everything that must happen without a request or a run that asks for it. Each loop is safe in several
 * copies at once, so there is no leader.
 */
import type { FastifyBaseLogger } from 'fastify'
import { openArtifactStore } from '../artifacts/open-store.js'
import { openBroker } from '../broker/open-broker.js'
import type { RelayConfig } from '../config.js'
import { openDatabase } from '../db/open.js'
import { startLoop } from '../timing/loop.js'
import { createCleaner } from './clean.js'
import { deliverOnce } from './deliver.js'
import { expireOnce } from './expire.js'
import { reconcileOnce } from './reconcile.js'
import { rescueOnce } from './rescue.js'
import { retainOnce } from './retain.js'

const EXPIRE_INTERVAL_MS = 1_000
const RESCUE_INTERVAL_MS = 1_000
const RECONCILE_INTERVAL_MS = 1_000
const RETAIN_INTERVAL_MS = 60_000
const CLEAN_INTERVAL_MS = 3_600_000

export async function startRelay(config: RelayConfig, log: FastifyBaseLogger): Promise<{ stop(): Promise<void> }> {
  const db = openDatabase(config.databaseUrl, { applicationName: 'taskwire relay', maxConnections: 2 })
  const broker = await openBroker({ redisUrl: config.redisUrl, databaseUrl: config.databaseUrl, log })
  const artifacts = await openArtifactStore(config.artifactsDir)
  const deliver = { db, broker, log, claimWindowMs: config.claimWindowSeconds * 1_000, brokerWindow: config.brokerWindow }
  const loops = [
    startLoop({ name: 'deliver', intervalMs: config.relayIntervalMs, log, step: () => deliverOnce(deliver) }),
    startLoop({ name: 'expire', intervalMs: EXPIRE_INTERVAL_MS, log, step: () => expireOnce(deliver) }),
    startLoop({ name: 'rescue', intervalMs: RESCUE_INTERVAL_MS, log, step: () => rescueOnce({ ...deliver, maxLostAttempts: config.maxLostAttempts }) }),
    startLoop({ name: 'reconcile', intervalMs: RECONCILE_INTERVAL_MS, maxPauseMs: RECONCILE_INTERVAL_MS, log, step: () => reconcileOnce(deliver) }),
    startLoop({ name: 'clean', intervalMs: CLEAN_INTERVAL_MS, log, step: createCleaner({ db, artifacts, log }) }),
    startLoop({ name: 'retain', intervalMs: RETAIN_INTERVAL_MS, log, step: () => retainOnce(db, artifacts) }),
  ]

  let stopping: Promise<void> | undefined
  async function stop(): Promise<void> {
    await Promise.all(loops.map((loop) => loop.stop()))
    await broker.close()
    await db.close()
  }
  return { stop: () => (stopping ??= stop()) }
}
