/**
 * The tasks that start to match one filter, for the subscriptions that follow each of them.
 *
 * A notice announces a task that matches now; if it has too little data to tell, the task is read. In addition the
 * newest matching tasks are listed every second, for notices that were lost or never sent: a task that the last listing
 * did not have, or had at an older version, has started to match. For a filter without a status only the newest tasks
 * need to be listed, because the fields that such a filter uses never change; for a filter with a status older tasks
 * may match too.
 */
import type { TaskFilter } from '../protocol/filter.js'
import type { Notice } from '../protocol/notice.js'
import type { TaskId } from '../protocol/task.js'
import { fitsNotice, type FoundRow, type ListPosition, type ListReads } from './list-query.js'
import type { Notices } from './notices.js'
import { PollPace } from './poll-pace.js'
import type { Log } from './room.js'

const CHECK_MS = 1_000
const DOWN_CHECK_MS = 500
const GATHER_MS = 50
const PAGE_SIZE = 200
/** The maximum length of a listing, if all of it may be new. */
const MAX_LISTED = 5_000
const MAX_UNSURE = 5_000
/** How long a room outlives its last watcher, so that a client that reconnects need not wait for a listing. */
const GRACE_MS = 5_000

/** Called with each task that matches now, and its version; the same task may be reported again. Must not throw. */
export type OnFit = (id: TaskId, version: number) => void

export class FitRoom {
  readonly tenant: string
  readonly filter: TaskFilter
  readonly #reads: Pick<ListReads, 'find' | 'readRows'>
  readonly #notices: Notices
  readonly #log: Log
  readonly #watchers = new Set<OnFit>()
  readonly #listener = {
    onNotices: (notices: readonly Notice[]) => this.#hear(notices),
    onGap: () => void (this.#nextCheckAtMs = 0),
  }
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

  constructor(
    tenant: string,
    filter: TaskFilter,
    reads: Pick<ListReads, 'find' | 'readRows'>,
    notices: Notices,
    log: Log,
  ) {
    this.tenant = tenant
    this.filter = filter
    this.#reads = reads
    this.#notices = notices
    this.#log = log
    this.#heard = notices.add(this.#listener)
  }

  /**
   * Resolves when changes are being received and the tasks that matched before are known. Rejects if those cannot be
   * read.
   */
  async add(onFit: OnFit): Promise<void> {
    this.#watchers.add(onFit)
    await this.#heard
    if (this.#seen === undefined) await this.#check()
    if (this.#seen === undefined) throw new Error('could not read the matching tasks')
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

  /** Call it a few times a second. */
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
      const isFitting = notice.isProgress === true ? false : fitsNotice(this.tenant, this.filter, notice)
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
      if (!this.#isStopped)
        for (const { task } of await this.#reads.readRows(this.filter, ids)) this.#tell(task.id, task.version)
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

  /** The newest matching tasks: back to those already seen, or to the maximum length of a listing. */
  async #list(): Promise<FoundRow[]> {
    const listed: FoundRow[] = []
    let position: ListPosition | undefined
    while (listed.length < MAX_LISTED) {
      const { found, next } = await this.#reads.find(this.filter, { limit: PAGE_SIZE, position })
      listed.push(...found)
      const isKnownFromHere =
        this.filter.status === undefined && (this.#seen === undefined || found.some(({ id }) => this.#seen?.has(id)))
      if (next === null || isKnownFromHere) break
      position = next
    }
    return listed
  }

  #warn(error: unknown): void {
    if (!this.#isWarned)
      this.#log.warn({ err: error, filter: this.filter }, 'could not read the tasks that match a filter')
    this.#isWarned = true
  }
}
