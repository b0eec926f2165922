/** Pauses types whose attempts nearly all fail for the same reason: see `store/release/break.ts`. */
import type { Database } from '../db/database.js'
import type { Log } from '../log.js'
import { breakFailingTypes } from '../store/release/break.js'

export interface BreakOptions {
  db: Database
  log: Log
  /** See BREAKER_ATTEMPTS. */
  breakerAttempts: number
}

/** One look at the workers' counts. Safe in several relays at once. */
export async function breakOnce({ db, log, breakerAttempts }: BreakOptions): Promise<boolean> {
  if (breakerAttempts === 0) return false
  for (const { type, reason, until } of await breakFailingTypes(db, breakerAttempts))
    log.warn({ type, reason, until }, 'paused a type that fails; it is tried again by itself')
  return false
}
