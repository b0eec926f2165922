/**
 * Keeps this worker known: a heartbeat each second writes what it serves and runs, and brings the request to drain.
 *
 * The heartbeat is also the probe by which the worker sees whether PostgreSQL accepts writes (`database-watch.ts`).
 */
import { hostname } from 'node:os'
import type { Database } from '../db/database.js'
import type { Log } from '../log.js'
import { forgetWorker, recordHeartbeat } from '../store/workers.js'
import { settlesWithin } from '../timing/deadline.js'
import type { Interval } from '../timing/interval.js'
import { readPackageVersion } from '../version.js'
import { watchDatabase } from './database-watch.js'
import type { OutcomeCounts } from './outcome-counts.js'
import type { Quarantine } from './quarantine.js'
import type { QueueConsumer } from './queues.js'

/** How long the last heartbeat may take before the row is left to expire. */
const FAREWELL_MS = 1_000

export interface RegistrationOptions {
  db: Database
  log: Log
  /** The name in the leases of its attempts. */
  id: string
  types: readonly string[]
  /** For how long the worker is trusted without a heartbeat. */
  leaseMs: number
  consumer: Pick<QueueConsumer, 'pause' | 'resume' | 'readQueues'>
  outcomes: Pick<OutcomeCounts, 'read'>
  quarantine: Pick<Quarantine, 'replace' | 'revision'>
}

export class Registration {
  readonly #options: RegistrationOptions
  readonly #version = readPackageVersion()
  readonly #beating: Interval
  #isDraining = false
  #isStopping = false
  #hasEnded = false
  #underWay = Promise.resolve()

  /** Starts the heartbeats. */
  constructor(options: RegistrationOptions) {
    this.#options = options
    const { log, consumer } = options
    this.#beating = watchDatabase({
      log,
      probe: () => this.#beat(),
      onDown: () => consumer.pause('PostgreSQL is away'),
      onUp: () => consumer.resume('PostgreSQL is away'),
    })
    this.#beat().catch(() => {})
  }

  /** The worker stops: says so, and goes on with its heartbeats until `end`. */
  stopping(): void {
    this.#isStopping = true
    this.#beat().catch(() => {})
  }

  /** Removes the worker's row, unless PostgreSQL is away: then it expires. */
  async end(): Promise<void> {
    this.#hasEnded = true
    this.#beating.stop()
    const { db, id } = this.#options
    // A heartbeat that is still under way would write the row again.
    await settlesWithin(
      this.#underWay.then(() => forgetWorker(db, id)),
      FAREWELL_MS,
    ).catch(() => {})
  }

  /** One heartbeat. Rejects when PostgreSQL does not take it. */
  #beat(): Promise<void> {
    const beat = this.#beatOnce()
    this.#underWay = Promise.allSettled([this.#underWay, beat]).then(() => {})
    return beat
  }

  async #beatOnce(): Promise<void> {
    if (this.#hasEnded) return
    const { db, log, id, types, leaseMs, consumer, outcomes, quarantine } = this.#options
    const { revision } = quarantine
    const { shouldDrain, quarantinedTypes } = await recordHeartbeat(
      db,
      {
        id,
        host: hostname(),
        pid: process.pid,
        version: this.#version,
        types,
        queues: consumer.readQueues(),
        outcomes: outcomes.read(),
        isStopping: this.#isStopping,
        isDraining: this.#isDraining,
      },
      leaseMs,
    )
    quarantine.replace(quarantinedTypes, revision)
    if (shouldDrain === this.#isDraining || this.#isStopping) return
    await (shouldDrain ? consumer.pause('draining') : consumer.resume('draining'))
    this.#isDraining = shouldDrain
    log.info(shouldDrain ? 'draining: taking no more tasks' : 'taking tasks again')
    await this.#beatOnce()
  }
}
