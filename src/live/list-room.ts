/**
 * One list that is watched in this process: its window, and the streams that follow it.
 *
 * PostgreSQL decides what is in the list; a notice only says which rows to read again. The life of a room:
 * 1. It subscribes to notices, and the broker has acknowledged that. Only then
 * 2. the window is read, and streams receive `list`.
 * 3. A notice of a row, or of a task that may become one, arrives: the task is read by its id, with the others that
 *    changed meanwhile, and PostgreSQL evaluates the filter in the same statement. Streams receive `change` at most
 *    four times a second.
 * 4. If rows were removed and others follow the window, or very many changed, the window is read again by its index;
 *    rows with a known stamp are not read.
 *
 * Failures:
 * - Notices were lost, or never sent (a task created by an application's SQL): the window is read again every second,
 *   and rows that differ are read. If that is slow, up to five seconds lie between two reads (`poll-pace.ts`). While
 *   the broker is down: twice a second. When it is back: at once.
 * - A notice arrives while rows are read: its row is read once more, because the read may have started before the
 *   change.
 * - PostgreSQL cannot be read: the list does not change; the next tick tries again.
 * - A client is slow: see `list-stream.ts`.
 */
import { tenantOf } from '../access/principal.js'
import { MAX_NEWER, type ListCounts } from '../protocol/list.js'
import type { Notice } from '../protocol/notice.js'
import type { TaskId } from '../protocol/task.js'
import { createFanOut } from './fan-out.js'
import { ListMessages } from './list-messages.js'
import { compareIn, fitsNotice, type ListPosition, type ListQuery, type ListReads } from './list-query.js'
import { ListStream, type ListSink } from './list-stream.js'
import { ListWindow } from './list-window.js'
import type { Notices } from './notices.js'
import { PollPace } from './poll-pace.js'
import type { Log } from './room.js'
import type { TaskStream } from './task-stream.js'

/** The minimum time between two messages of a list, in milliseconds. */
const MIN_PAUSE_MS = 250
/** The delay between a notice and the read of its task: notices come in bursts. */
const GATHER_MS = 20
const CHECK_MS = 1_000
const DOWN_CHECK_MS = 500
/**
 * The maximum number of notices remembered during a read, and of stale rows; above it, the whole window is read again.
 */
const MAX_REMEMBERED = 5_000

export interface ListRoomDeps {
  reads: ListReads
  notices: Notices
  log: Log
  maxStuckMs: number
  encodeCursor(position: ListPosition): string
  /**
   * The counts of this filter, while the window does not hold all matching tasks; `onCounts` is called when they
   * change.
   */
  watchCounts(onCounts: () => void): { counts(): ListCounts | null; stop(): void }
}

export class ListRoom {
  readonly name: string
  readonly tenant: string
  readonly query: ListQuery
  readonly #deps: ListRoomDeps
  readonly #window: ListWindow
  readonly #messages: ListMessages
  readonly #compare: (a: ListPosition, b: ListPosition) => number
  readonly #streams = new Set<ListStream>()
  readonly #fanOut = createFanOut(
    this.#streams,
    (stream) => stream.advance(),
    () => {},
  )
  readonly #listener = {
    onNotices: (notices: readonly Notice[]) => this.#hear(notices),
    onGap: () => this.#findAgain(),
  }
  readonly #pace = new PollPace()
  #stale = new Set<TaskId>()
  #heardMeanwhile = new Set<TaskId>()
  #isWholeStale = true
  #isReading = false
  #isClosed = false
  #isWarned = false
  #timer: NodeJS.Timeout | undefined
  #toldAtMs = -Infinity
  #nextCheckAtMs = Infinity
  #tally: ReturnType<ListRoomDeps['watchCounts']> | undefined
  #newer = 0
  #idleSinceMs = performance.now()
  #ready: Promise<void> | undefined
  #visitors = 0

  constructor(name: string, tenant: string, query: ListQuery, deps: ListRoomDeps) {
    this.name = name
    this.tenant = tenant
    this.query = query
    this.#deps = deps
    this.#window = new ListWindow(query)
    this.#messages = new ListMessages(name, this.#window, () => ({
      nextCursor: this.#window.next && deps.encodeCursor(this.#window.next),
      newer: this.#newer,
      counts: this.#counts(),
    }))
    this.#compare = compareIn(query.filter)
  }

  /** Resolves when the list has been read. Rejects if it cannot be. */
  async enter(): Promise<void> {
    this.#visitors += 1
    try {
      await (this.#ready ??= this.#open())
    } catch (error) {
      this.#ready = undefined
      throw error
    } finally {
      this.#visitors -= 1
      this.#idleSinceMs = performance.now()
    }
  }

  get size(): number {
    return this.#window.size
  }

  /** Follows the list, starting with all of it. Call it in the turn in which `enter` has resolved. */
  attach(sink: ListSink): TaskStream {
    const stream = new ListStream(this.#messages, sink, (one) => {
      this.#streams.delete(one)
      this.#idleSinceMs = performance.now()
    })
    this.#streams.add(stream)
    stream.advance()
    return stream
  }

  /** How long this room has been unused. */
  idleMs(): number {
    return this.#streams.size > 0 || this.#visitors > 0 ? 0 : performance.now() - this.#idleSinceMs
  }

  /** Call it a few times a second. */
  tick(): void {
    for (const stream of this.#streams) stream.closeIfStuck(this.#deps.maxStuckMs)
    if (this.#ready === undefined || this.#isReading) return
    if (
      performance.now() >= this.#nextCheckAtMs ||
      (!this.#deps.notices.isUp() && performance.now() >= this.#nextCheckAtMs - (CHECK_MS - DOWN_CHECK_MS))
    )
      this.#findAgain()
  }

  close(code: number, reason: () => string): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#tally?.stop()
    this.#deps.notices.remove(this.#listener)
    for (const stream of this.#streams) stream.close(code, reason())
  }

  async #open(): Promise<void> {
    await this.#deps.notices.add(this.#listener)
    await this.#read()
    this.#tell()
    this.#scheduleIfStale()
  }

  #hear(notices: readonly Notice[]): void {
    for (const notice of notices) {
      if (tenantOf(notice) !== this.tenant) continue
      const { taskId, version, isProgress = false } = notice
      if (this.#isReading) this.#heardMeanwhile.add(taskId)
      const known = this.#window.task(taskId)
      if (known !== undefined ? isProgress || version > known.version : !isProgress && this.#mayComeIn(notice))
        this.#stale.add(taskId)
    }
    if (this.#heardMeanwhile.size > MAX_REMEMBERED || this.#stale.size > MAX_REMEMBERED) this.#isWholeStale = true
    this.#scheduleIfStale()
  }

  #mayComeIn(notice: Notice): boolean {
    if (fitsNotice(this.tenant, this.query.filter, notice) === false) return false
    // A task ahead of the window does not enter it, but is counted.
    if (this.query.before !== undefined) this.#isWholeStale = true
    return (
      notice.facts === undefined || this.#window.hasPlaceFor({ id: notice.taskId, createdAt: notice.facts.createdAt })
    )
  }

  #findAgain(): void {
    this.#isWholeStale = true
    this.#schedule(0)
  }

  #scheduleIfStale(): void {
    if (this.#isWholeStale || this.#stale.size > 0) this.#schedule()
  }

  #schedule(gatherMs = GATHER_MS): void {
    if (this.#isReading || this.#isClosed || this.#ready === undefined || this.#timer !== undefined) return
    const pauseMs = Math.max(gatherMs, this.#toldAtMs + MIN_PAUSE_MS - performance.now())
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      void this.#refresh()
    }, pauseMs)
  }

  async #refresh(): Promise<void> {
    if (this.#isReading || this.#isClosed) return
    try {
      await this.#read()
      this.#isWarned = false
    } catch (error) {
      if (!this.#isWarned)
        this.#deps.log.warn({ err: error, filter: this.query.filter }, 'could not read a watched list')
      this.#isWarned = true
      this.#nextCheckAtMs = performance.now() + DOWN_CHECK_MS
    }
    if (this.#isClosed) return
    this.#tell()
    if (!this.#isWarned) this.#scheduleIfStale()
  }

  async #read(): Promise<void> {
    this.#isReading = true
    this.#heardMeanwhile.clear()
    try {
      const stale = [...this.#stale]
      this.#stale = new Set()
      // More rows than the window has: reading the window again is cheaper.
      if (this.#isWholeStale || stale.length > this.#window.limit) await this.#readWhole()
      else if (stale.length > 0 && this.#window.merge(stale, await this.#deps.reads.readRows(this.query.filter, stale)))
        await this.#readWhole()
    } catch (error) {
      this.#isWholeStale = true
      throw error
    } finally {
      this.#isReading = false
    }
    for (const id of this.#heardMeanwhile) if (this.#window.task(id) !== undefined) this.#stale.add(id)
  }

  async #readWhole(): Promise<void> {
    const { filter, before } = this.query
    const { reads } = this.#deps
    this.#isWholeStale = false
    const beganAtMs = performance.now()
    // One more than the window has tells whether others follow.
    const { limit } = this.#window
    const { found, next } = await reads.find(filter, { limit: limit + 1, position: before })
    const window = found.slice(0, limit)
    const unknown = this.#window.unknownOf(window)
    const last = window.at(-1)
    this.#window.replace(
      window,
      unknown.length > 0 ? await reads.readRows(filter, unknown) : [],
      found.length > limit && last ? last : next,
    )
    if (before !== undefined) this.#newer = await this.#countNewer(before)
    const nowMs = performance.now()
    this.#nextCheckAtMs = nowMs + this.#pace.pauseAfter(nowMs - beganAtMs, CHECK_MS * (0.9 + Math.random() * 0.2))
  }

  async #countNewer(before: ListPosition): Promise<number> {
    const { found } = await this.#deps.reads.find(this.query.filter, { limit: MAX_NEWER })
    return found.filter((row) => this.#compare(row, before) <= 0).length
  }

  /** A window that holds all matching tasks of every status is its own count. */
  #counts(): ListCounts | null {
    const { filter, before } = this.query
    if (this.#window.next === null && filter.status === undefined && before === undefined) {
      const byStatus: ListCounts['byStatus'] = {}
      for (const { task } of this.#window.rows()) byStatus[task.status] = (byStatus[task.status] ?? 0) + 1
      return { byStatus, more: [] }
    }
    this.#tally ??= this.#deps.watchCounts(() => {
      if (this.#timer === undefined && !this.#isReading && !this.#isClosed) this.#schedule()
    })
    return this.#tally.counts()
  }

  /** Sends all streams what has changed, if anything. */
  #tell(): void {
    if (!this.#messages.takeChange()) return
    this.#toldAtMs = performance.now()
    this.#fanOut.visitAll()
  }
}
