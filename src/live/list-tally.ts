/**
 * The number of tasks that match a filter, by status, for lists whose window does not hold all of them. Counted again
 * at most once a second after a notice of a task that may be counted, and every ten seconds without one. If counting is
 * slow, up to five seconds lie between two counts.
 */
import type { TaskFilter } from '../protocol/filter.js'
import type { ListCounts } from '../protocol/list.js'
import type { Notice } from '../protocol/notice.js'
import { fitsNotice, type ListReads } from './list-query.js'
import type { Notices } from './notices.js'
import { PollPace } from './poll-pace.js'
import type { Log } from './room.js'

const PAUSE_MS = 1_000
const MAX_AGE_MS = 10_000

export class ListTally {
  readonly #tenant: string
  readonly #filter: TaskFilter
  readonly #reads: Pick<ListReads, 'count'>
  readonly #notices: Notices
  readonly #log: Log
  readonly #watchers = new Set<() => void>()
  readonly #listener = {
    onNotices: (notices: readonly Notice[]) => this.#hear(notices),
    onGap: () => void (this.#isStale = true),
  }
  readonly #pace = new PollPace()
  #isStale = true
  #isCounting = false
  #nextAtMs = 0
  #oldAtMs = 0
  counts: ListCounts | null = null

  /** @param filter without a status */
  constructor(tenant: string, filter: TaskFilter, reads: Pick<ListReads, 'count'>, notices: Notices, log: Log) {
    this.#tenant = tenant
    this.#filter = filter
    this.#reads = reads
    this.#notices = notices
    this.#log = log
    void notices.add(this.#listener)
  }

  get isNeeded(): boolean {
    return this.#watchers.size > 0
  }

  add(onCounts: () => void): void {
    this.#watchers.add(onCounts)
    this.tick()
  }

  remove(onCounts: () => void): void {
    this.#watchers.delete(onCounts)
  }

  stop(): void {
    this.#notices.remove(this.#listener)
  }

  /** Call it a few times a second. */
  tick(): void {
    const nowMs = performance.now()
    const isDue = (this.#isStale || !this.#notices.isUp()) && nowMs >= this.#nextAtMs
    if (!this.#isCounting && (isDue || nowMs >= this.#oldAtMs)) void this.#count()
  }

  #hear(notices: readonly Notice[]): void {
    this.#isStale ||= notices.some(
      (notice) => notice.isProgress !== true && fitsNotice(this.#tenant, this.#filter, notice) !== false,
    )
  }

  async #count(): Promise<void> {
    this.#isCounting = true
    this.#isStale = false
    const beganAtMs = performance.now()
    let pauseMs = PAUSE_MS
    try {
      this.counts = await this.#reads.count(this.#filter)
      pauseMs = this.#pace.pauseAfter(performance.now() - beganAtMs, PAUSE_MS)
      for (const tell of this.#watchers) tell()
    } catch (error) {
      this.#isStale = true
      this.#log.warn({ err: error, filter: this.#filter }, 'could not count the tasks of a watched list')
    }
    const nowMs = performance.now()
    this.#nextAtMs = nowMs + pauseMs
    this.#oldAtMs = nowMs + MAX_AGE_MS
    this.#isCounting = false
  }
}
