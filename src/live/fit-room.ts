/**
 * The tasks that come to fit one filter, for the subscriptions that follow each of them.
 *
 * A notice tells of a task that fits now; where it does not say enough, the task is read. Beside that the newest are listed every second,
 * for notices that were lost or never sent: what the last listing did not have, or had at an older version, has come to fit. Tasks of a
 * filter without a status are found among the newest, for what such a filter looks at does not change; of a status far back as well.
 */
import { fitsNotice, type TaskFilter } from '../protocol/filter.js'
import type { Notice } from '../protocol/notice.js'
import type { TaskId } from '../protocol/task.js'
import type { FoundRow, ListPosition, ListReads } from './list-query.js'
import type { Notices } from './notices.js'
import { PollPace } from './poll-pace.js'
import type { Log } from './room.js'

const CHECK_MS = 1_000
const DOWN_CHECK_MS = 500
const GATHER_MS = 50
const PAGE_SIZE = 200
/** How far back a listing goes, where all of it may be new. */
const MAX_LISTED = 5_000
const MAX_UNSURE = 5_000
/** A room outlives its last watcher by this, so that one whose connection was cut need not wait for a listing. */
const GRACE_MS = 5_000

/** Called with each task that fits now, and its version; the same may be told again. Must not throw. */
export type OnFit = (id: TaskId, version: number) => void

export class FitRoom {
  readonly filter: TaskFilter
  readonly #reads: Pick<ListReads, 'find' | 'readRows'>
  readonly #notices: Notices
  readonly #log: Log
  readonly #watchers = new Set<OnFit>()
  readonly #listener = { onNotices: (notices: readonly Notice[]) => this.#hear(notices), onGap: () => void (this.#nextCheckAtMs = 0) }
  readonly #heard: Promise<void>
  readonly #pace = new PollPace()
  #unsure = new Set<TaskId>()
  #isReadingUnsure = false
  #seen: Map<TaskId, number> | undefined
  #checking: Promise<void> | undefined
  #isWarned = false
  #nextCheckAtMs = 0
  #isStopped = false
  #leftAtMs = performance.now()

  constructor(filter: TaskFilter, reads: Pick<ListReads, 'find' | 'readRows'>, notices: Notices, log: Log) {
    this.filter = filter
    this.#reads = reads
    this.#notices = notices
    this.#log = log
    this.#heard = notices.add(this.#listener)
  }

  /** Resolves when changes are heard, and it is known what fitted before. Rejects when that cannot be read. */
  async add(onFit: OnFit): Promise<void> {
    this.#watchers.add(onFit)
    await this.#heard
    if (this.#seen === undefined) await this.#check()
    if (this.#seen === undefined) throw new Error('the tasks that fit could not be read')
  }

  remove(onFit: OnFit): void {
    this.#watchers.delete(onFit)
    this.#leftAtMs = performance.now()
  }

  get isNeeded(): boolean {
    return this.#watchers.size > 0 || performance.now() - this.#leftAtMs < GRACE_MS
  }

  stop(): void {
    this.#isStopped = true
    this.#notices.remove(this.#listener)
  }

  /** To be called a few times a second. */
  tick(): void {
    const nowMs = performance.now()
    const early = this.#notices.isUp() ? 0 : CHECK_MS - DOWN_CHECK_MS
    if (this.#checking === undefined && nowMs >= this.#nextCheckAtMs - early) void this.#check()
    if (this.#unsure.size > 0) this.#askLater()
  }

  #tell(id: TaskId, version: number): void {
    for (const onFit of this.#watchers) onFit(id, version)
  }

  #hear(notices: readonly Notice[]): void {
    for (const notice of notices) {
      const isFitting = notice.isProgress === true ? false : fitsNotice(this.filter, notice)
      if (isFitting === false) continue
      if (isFitting === true) this.#tell(notice.taskId, notice.version)
      else if (this.#unsure.size < MAX_UNSURE) this.#unsure.add(notice.taskId)
    }
    if (this.#unsure.size > 0) this.#askLater()
  }

  #askLater(): void {
    if (this.#isReadingUnsure) return
    this.#isReadingUnsure = true
    setTimeout(() => void this.#askForUnsure(), GATHER_MS)
  }

  async #askForUnsure(): Promise<void> {
    const ids = [...this.#unsure]
    this.#unsure = new Set()
    try {
      if (!this.#isStopped) for (const { task } of await this.#reads.readRows(this.filter, ids)) this.#tell(task.id, task.version)
    } catch (error) {
      for (const id of ids) this.#unsure.add(id)
      this.#warn(error)
    }
    this.#isReadingUnsure = false
  }

  #check(): Promise<void> {
    this.#checking ??= this.#checkOnce().finally(() => (this.#checking = undefined))
    return this.#checking
  }

  async #checkOnce(): Promise<void> {
    const beganAtMs = performance.now()
    let pauseMs = CHECK_MS
    try {
      const found = await this.#list()
      pauseMs = this.#pace.pauseAfter(performance.now() - beganAtMs, CHECK_MS)
      const before = this.#seen
      this.#seen = new Map(found.map(({ id, version }) => [id, version]))
      if (before !== undefined && !this.#isStopped) {
        for (const { id, version } of found.reverse()) if (version > (before.get(id) ?? 0)) this.#tell(id, version)
      }
      this.#isWarned = false
    } catch (error) {
      this.#warn(error)
    }
    this.#nextCheckAtMs = performance.now() + pauseMs
  }

  /** The newest that fit: back to those that were seen, or as far as a listing goes. */
  async #list(): Promise<FoundRow[]> {
    const listed: FoundRow[] = []
    let position: ListPosition | undefined
    while (listed.length < MAX_LISTED) {
      const { found, next } = await this.#reads.find(this.filter, { limit: PAGE_SIZE, position })
      listed.push(...found)
      const isKnownFromHere = this.filter.status === undefined && (this.#seen === undefined || found.some(({ id }) => this.#seen?.has(id)))
      if (next === null || isKnownFromHere) break
      position = next
    }
    return listed
  }

  #warn(error: unknown): void {
    if (!this.#isWarned) this.#log.warn({ err: error, filter: this.filter }, 'the tasks that fit could not be read')
    this.#isWarned = true
  }
}
