/**
 * Notices that the broker has lost its memory (emptied, restored from a copy, replaced) and makes everything due again that
 * was handed to it. Without this the claim window would do the same, one window later.
 */
import type { Broker } from '../broker/broker.js'
import type { Database } from '../db/database.js'
import type { Log } from '../log.js'
import { redeliverIfNewEpoch } from '../store/deliveries/redeliver.js'
import { MAX_PAUSE_MS } from '../store/deliveries/take-due.js'

export interface ReconcileOptions {
  db: Database
  broker: Broker
  log: Log
  claimWindowMs: number
}

/** One look at the epoch. Safe in several relays at once: one of them makes the deliveries due. */
export async function reconcileOnce({ db, broker, log, claimWindowMs }: ReconcileOptions): Promise<boolean> {
  const epoch = await broker.readEpoch()
  const count = await redeliverIfNewEpoch(db, broker.kind, epoch, Math.max(MAX_PAUSE_MS, claimWindowMs))
  if (count !== undefined && count > 0) log.warn({ count, epoch }, 'the broker has a new memory; what was handed to the old one is delivered again')
  return false
}
