/**
 * The only way in which a process tells others what it has committed. Recorder, relay and routes publish through it
 * after their commit, and never wait for it: an event is a hint, and a process that misses one finds the change in
 * PostgreSQL.
 *
 * - Batches: what is published in one turn of the event loop goes together, and what arrives during a publication goes
 *   with the next. One publication of events and one of notices are in progress at a time, so that the order of each is
 *   kept.
 * - Bounds: while the broker is slow or away, at most `MAX_WAITING` of each are collected; then the oldest are dropped.
 * - The broker is away: the batch being published is lost, and the next batch is tried at once (the broker has its own
 *   deadline). The log says so once per outage, and once when publications work again, with the number of lost ones.
 *
 * Usually no process follows a list, and to publish the notice of a new task would cost a good part of its create. So
 * the broker is asked first whether any process subscribes to notices:
 *
 * - None: notices of tasks committed before the question are dropped. A process that subscribes later reads the list
 *   after its subscription, and finds those tasks. Notices of later tasks are kept for the next question, `QUIET_MS`
 *   later.
 * - Some, or the broker does not answer: the collected notices are published, and for `HEARD_MS` so are all that follow,
 *   without another question.
 */
import type { Notice } from '../protocol/notice.js'
import type { Event } from '../protocol/stream.js'
import { settlesWithin } from '../timing/deadline.js'
import { pause } from '../timing/pause.js'
import type { EventBus } from './broker.js'
import { reasonOf } from './explain.js'
import type { BrokerLog } from './incident-log.js'

/** The most events, and the most notices, that wait to be published. */
const MAX_WAITING = 5_000
/** Events carry results: a batch of more would be a large message. */
const MAX_EVENTS = 256
const QUIET_MS = 100
const HEARD_MS = 1_000
const DRAIN_MS = 2_000

export interface Publisher {
  /** Notifies the watchers of these tasks, and the lists that contain them. Returns at once; never throws. */
  publish(events: readonly Event[]): void
  /**
   * Notifies only lists: of tasks that nobody can watch by their id yet. `makers` are called only if a process listens,
   * so each should hold the little that it needs, not the whole task. Returns at once; never throws.
   */
  notifyLists(makers: readonly (() => Notice)[]): void
  /**
   * Call it before the broker is closed: publishes at once what waits, and resolves when that is done, or after two
   * seconds. Never rejects.
   */
  drain(): Promise<void>
}

export interface PublisherOptions {
  bus: Pick<EventBus, 'publish' | 'publishNotices' | 'hasNoticeListeners'>
  log: BrokerLog
}

export function createPublisher({ bus, log }: PublisherOptions): Publisher {
  const outage = new Outage(log)
  const events = new Lane<Event>({
    send: (batch) => bus.publish(batch),
    isHeard: async () => true,
    maxBatch: MAX_EVENTS,
    outage,
  })
  const notices = new Lane<() => Notice>({
    send: (batch) => bus.publishNotices(batch.map((make) => make())),
    isHeard: rememberListeners(bus),
    maxBatch: MAX_WAITING,
    outage,
  })
  return {
    publish: (given) => events.add(given),
    notifyLists: (given) => notices.add(given),
    async drain() {
      await settlesWithin(Promise.all([events.drain(), notices.drain()]), DRAIN_MS)
    },
  }
}

/** Whether any process listens to notices. That one does holds for a while without another question. */
function rememberListeners(bus: Pick<EventBus, 'hasNoticeListeners'>): () => Promise<boolean> {
  let heardUntilMs = 0
  return async () => {
    if (performance.now() < heardUntilMs) return true
    // Where the question is not allowed, everything is published.
    if (!(await bus.hasNoticeListeners().catch(() => true))) return false
    heardUntilMs = performance.now() + HEARD_MS
    return true
  }
}

interface LaneOptions<Item> {
  send(batch: readonly Item[]): Promise<void>
  /** Asked before each batch, which is dropped if the answer is no. Never rejects. */
  isHeard(): Promise<boolean>
  maxBatch: number
  outage: Outage
}

/** Publishes in order: what waits, and the publication in progress. */
class Lane<Item> {
  readonly #options: LaneOptions<Item>
  #waiting: Item[] = []
  #publishing: Promise<void> | undefined
  #pausing: AbortController | undefined

  constructor(options: LaneOptions<Item>) {
    this.#options = options
  }

  add(items: readonly Item[]): void {
    if (items.length === 0) return
    for (const item of items) this.#waiting.push(item)
    const excess = this.#waiting.length - MAX_WAITING
    if (excess > 0) {
      this.#waiting.splice(0, excess)
      this.#options.outage.lose(excess)
    }
    this.#publishing ??= this.#publishWaiting()
  }

  async drain(): Promise<void> {
    this.#pausing?.abort()
    await this.#publishing
  }

  async #publishWaiting(): Promise<void> {
    const { isHeard, maxBatch } = this.#options
    // What is added in this turn goes together.
    await new Promise(setImmediate)
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, maxBatch)
      if (await isHeard()) await this.#publish(batch)
      else await this.#pause()
    }
    this.#publishing = undefined
  }

  async #publish(batch: readonly Item[]): Promise<void> {
    const { send, outage } = this.#options
    try {
      await send(batch)
      outage.end()
    } catch (error) {
      outage.begin(error, batch.length)
    }
  }

  async #pause(): Promise<void> {
    this.#pausing = new AbortController()
    await pause(QUIET_MS, this.#pausing.signal)
    this.#pausing = undefined
  }
}

/** Limits the log to two lines per outage, however many publications are lost. */
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
    if (!this.#isOn)
      this.#log.warn(
        { reason: reasonOf(error), count },
        'could not publish changes; watchers find them at their next read',
      )
    this.#isOn = true
  }

  end(): void {
    if (this.#isOn) this.#log.info({ lost: this.#lost }, 'publishing changes again')
    this.#isOn = false
    this.#lost = 0
  }
}
