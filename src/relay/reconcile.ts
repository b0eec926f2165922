/**
 * Detects that the broker has lost its data (emptied, restored from a backup, replaced) and makes every dispatched
 * delivery due again. Without this, each would be due again one claim window later.
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

/** One check of the epoch. Safe to run in several relays at once: only one of them makes the deliveries due. */
export async function reconcileOnce({ db, broker, log, claimWindowMs }: ReconcileOptions): Promise<boolean> {
  const epoch = await broker.readEpoch()
  const count = await redeliverIfNewEpoch(db, broker.kind, epoch, Math.max(MAX_PAUSE_MS, claimWindowMs))
  if (count !== undefined && count > 0) log.warn({ count, epoch }, 'the broker lost its data; redelivering')
  return false
}
