/**
 * The one way by which a process tells others what was committed. Recorder, relay and routes publish through it after their commit,
 * and never wait for it: an event is a hint, and whoever misses one finds the change in PostgreSQL.
 *
 * - Batches: what is published in one turn of the event loop goes together, and what comes while a publication is under way goes with
 *   the next. One publication of events and one of notices are under way at a time, so that the order of each is kept.
 * - Bounds: while the broker is slow or away, `MAX_WAITING` of each gather; then the oldest are dropped.
 * - The broker is away: what was being published is lost, and the next batch is tried at once (the broker has its own deadline). The
 *   log says so once an outage, and once when publications work again, with how many were lost.
 */
import type { Notice } from '../protocol/notice.js'
import type { Event } from '../protocol/stream.js'
import { settlesWithin } from '../timing/deadline.js'
import type { EventBus } from './broker.js'
import { reasonOf } from './explain.js'
import type { BrokerLog } from './incident-log.js'

/** Events, and notices, that wait to be published, at most. */
const MAX_WAITING = 5_000
/** Events carry results: a batch of more would be a large message. */
const MAX_EVENTS = 256
const DRAIN_MS = 2_000

export interface Publisher {
  /** Tells those who watch these tasks, and the lists that they stand in. Returns at once; never throws. */
  publish(events: readonly Event[]): void
  /** Tells lists alone: of tasks that nobody can watch by their id yet. Returns at once; never throws. */
  notifyLists(notices: readonly Notice[]): void
  /** Before the broker is closed: resolves when all that was committed so far is published, or after two seconds. */
  drain(): Promise<void>
}

export interface PublisherOptions {
  bus: Pick<EventBus, 'publish' | 'publishNotices'>
  log: BrokerLog
}

export function createPublisher({ bus, log }: PublisherOptions): Publisher {
  const outage = new Outage(log)
  const events = new Lane<Event>((batch) => bus.publish(batch), MAX_EVENTS, outage)
  const notices = new Lane<Notice>((batch) => bus.publishNotices(batch), MAX_WAITING, outage)
  return {
    publish: (given) => events.add(given),
    notifyLists: (given) => notices.add(given),
    async drain() {
      await settlesWithin(Promise.all([events.whenIdle(), notices.whenIdle()]), DRAIN_MS)
    },
  }
}

/** What waits to be published in order, and the publication under way. */
class Lane<Item> {
  readonly #send: (batch: readonly Item[]) => Promise<void>
  readonly #maxBatch: number
  readonly #outage: Outage
  #waiting: Item[] = []
  #publishing: Promise<void> | undefined

  constructor(send: (batch: readonly Item[]) => Promise<void>, maxBatch: number, outage: Outage) {
    this.#send = send
    this.#maxBatch = maxBatch
    this.#outage = outage
  }

  add(items: readonly Item[]): void {
    if (items.length === 0) return
    for (const item of items) this.#waiting.push(item)
    const excess = this.#waiting.length - MAX_WAITING
    if (excess > 0) {
      this.#waiting.splice(0, excess)
      this.#outage.lose(excess)
    }
    this.#publishing ??= this.#publishWaiting()
  }

  async whenIdle(): Promise<void> {
    await this.#publishing
  }

  async #publishWaiting(): Promise<void> {
    // What is added in this turn goes together.
    await new Promise(setImmediate)
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#maxBatch)
      try {
        await this.#send(batch)
        this.#outage.end()
      } catch (error) {
        this.#outage.begin(error, batch.length)
      }
    }
    this.#publishing = undefined
  }
}

/** Keeps the log at two lines an outage, however many publications it costs. */
class Outage {
  readonly #log: BrokerLog
  #isOn = false
  #lost = 0

  constructor(log: BrokerLog) {
    this.#log = log
  }

  lose(count: number): void {
    this.#lost += count
  }

  begin(error: unknown, count: number): void {
    this.#lost += count
    if (!this.#isOn) this.#log.warn({ reason: reasonOf(error), count }, 'changes were not published; watchers find them when they read again')
    this.#isOn = true
  }

  end(): void {
    if (this.#isOn) this.#log.info({ lost: this.#lost }, 'changes are published again')
    this.#isOn = false
    this.#lost = 0
  }
}
