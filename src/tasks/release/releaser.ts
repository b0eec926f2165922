/**
 * Calls the release and dispatches what it releases.
 *
 * Any process that makes room or adds a gated task calls `wake`, and the relay calls it regularly. Calls that arrive
 * during a release become one. After a crash between the release and the dispatch, the delivery is due again one claim
 * window later.
 */
import { crashPoint } from '../../crash-point.js'
import type { Database } from '../../db/database.js'
import type { Log } from '../../log.js'
import type { Event } from '../../protocol/stream.js'
import type { DueDelivery } from '../../store/deliveries/take-due.js'
import { MAX_RELEASED, releaseDeliveries } from '../../store/release/release.js'

/** The shortest pause before a release that a rate limit asks for. */
const MIN_PAUSE_MS = 5

export interface ReleaserOptions {
  db: Database
  broker: { queue: { add(deliveries: readonly DueDelivery[]): Promise<void> } }
  publisher: { publish(events: readonly Event[]): void }
  log: Log
  /** How long workers have to claim what is released. */
  claimWindowMs: number
  /** Whether it wakes by itself when a rate limit allows the next start. Default false. */
  isTimed?: boolean
}

export class Releaser {
  readonly #options: ReleaserOptions
  #running: Promise<void> | undefined
  #isAskedAgain = false
  /** See `Release.isFull`. */
  #wasFull = false
  #hasStopped = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: ReleaserOptions) {
    this.#options = options
  }

  /** Asks for a release, because something may be released. Returns at once. */
  wake(): void {
    if (this.#hasStopped) return
    this.#isAskedAgain = true
    this.#running ??= this.#run()
  }

  /** A claim has made room among the released deliveries: asks for a release if the last one stopped for want of room. */
  wakeAfterClaim(): void {
    if (this.#wasFull) this.wake()
  }

  /** Waits for the release under way, and starts no other. */
  async stop(): Promise<void> {
    this.#hasStopped = true
    clearTimeout(this.#timer)
    await this.#running
  }

  async #run(): Promise<void> {
    try {
      while (this.#isAskedAgain && !this.#hasStopped) {
        this.#isAskedAgain = false
        // Not in one expression: a call that comes meanwhile must not be overwritten.
        const hasMore = await this.#releaseOnce()
        if (hasMore) this.#isAskedAgain = true
      }
    } catch (error) {
      // The relay calls again.
      this.#options.log.warn({ err: error }, 'a release failed; trying again')
    } finally {
      // At once, or a call that comes now would be lost.
      this.#running = undefined
    }
  }

  /** True when there may be more. */
  async #releaseOnce(): Promise<boolean> {
    const { db, broker, publisher, claimWindowMs, isTimed = false } = this.#options
    const { deliveries, transitions, nextInMs, isFull } = await releaseDeliveries(db, claimWindowMs)
    this.#wasFull = isFull
    crashPoint('release:after-commit')
    publisher.publish(transitions)
    if (deliveries.length > 0) await broker.queue.add(deliveries)
    if (isTimed && nextInMs !== undefined) this.#wakeIn(Math.max(MIN_PAUSE_MS, nextInMs))
    return deliveries.length + transitions.length >= MAX_RELEASED
  }

  #wakeIn(pauseMs: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.wake(), Math.min(pauseMs, 60_000))
  }
}
