/**
 * Writes what handlers report during their runs, a few times a second.
 *
 * Progress is coalesced: of the reports of an attempt during a write, only the latest is written next. Log lines are
 * written in order. A lost write is logged: it costs a stream one step of a progress bar, or some lines, and does not
 * hold up the task. A report that PostgreSQL refuses loses only itself, not the others of its batch.
 */
import type { Database } from '../../db/database.js'
import { isRefusedForGood } from '../../db/refused-data.js'
import type { Log } from '../../log.js'
import type { Event } from '../../protocol/stream.js'
import type { TaskId } from '../../protocol/task.js'
import { type LogReport, recordLogsIfCurrent } from '../../store/attempts/logs.js'
import { type ProgressReport, recordProgressIfCurrent } from '../../store/attempts/progress.js'

/** The shortest time between two writes of progress, and of log lines, in milliseconds. */
const REPORT_PAUSE_MS = 50
/** Most log lines that wait to be written. While PostgreSQL is away, further lines are dropped, and counted. */
export const MAX_WAITING_LINES = 10_000
const MAX_LINES_PER_WRITE = 500

export interface ReportWriterDeps {
  db: Database
  /** Of the publisher: returns at once. */
  publish(events: readonly Event[]): void
  log: Log
}

export class ProgressWriter {
  readonly #deps: ReportWriterDeps
  /** The latest of each task. */
  readonly #waiting = new Map<TaskId, ProgressReport>()
  #isLooping = false
  #writing: Promise<void> | undefined

  constructor(deps: ReportWriterDeps) {
    this.#deps = deps
  }

  /** Takes the latest progress of an attempt, to be written soon. */
  add(report: ProgressReport): void {
    this.#waiting.set(report.taskId, report)
    void this.#writeWaiting()
  }

  /** Writes the last progress of a run. Must precede its end, or it would become the progress of a finished attempt. */
  async flush(id: TaskId): Promise<void> {
    await this.#writing
    const last = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (last !== undefined) await this.#write([last])
  }

  async #writeWaiting(): Promise<void> {
    if (this.#isLooping) return
    this.#isLooping = true
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting.values()]
      this.#waiting.clear()
      this.#writing = this.#write(batch)
      await this.#writing
      await new Promise((resolve) => setTimeout(resolve, REPORT_PAUSE_MS))
    }
    this.#isLooping = false
  }

  #write(batch: readonly ProgressReport[]): Promise<void> {
    const { db } = this.#deps
    return writeReports(batch, (reports) => recordProgressIfCurrent(db, reports), 'progress was not stored', this.#deps)
  }
}

export class LogWriter {
  readonly #deps: ReportWriterDeps
  readonly #waiting: LogReport[] = []
  #writing: Promise<void> | undefined
  #isScheduled = false
  #droppedCount = 0

  constructor(deps: ReportWriterDeps) {
    this.#deps = deps
  }

  /** Takes a log line, to be written soon. */
  add(line: LogReport): void {
    if (this.#waiting.length >= MAX_WAITING_LINES) return this.#drop()
    this.#waiting.push(line)
    if (this.#isScheduled) return
    this.#isScheduled = true
    setTimeout(() => {
      this.#isScheduled = false
      void this.#writeWaiting()
    }, REPORT_PAUSE_MS)
  }

  #drop(): void {
    this.#droppedCount += 1
    if (this.#droppedCount === 1)
      this.#deps.log.warn(
        `more than ${MAX_WAITING_LINES} log lines of handlers wait to be stored; dropping further ones`,
      )
  }

  /** Writes the lines of a run. */
  async flush(id: TaskId): Promise<void> {
    const isWaiting = this.#waiting.some(({ taskId }) => taskId === id)
    await this.#writing
    // A write that was about to end when the line was added has left it to the next one.
    if (isWaiting) await this.#writeWaiting()
  }

  /** One write at a time, so that lines stay in order. */
  #writeWaiting(): Promise<void> {
    this.#writing ??= this.#writeAll().finally(() => (this.#writing = undefined))
    return this.#writing
  }

  async #writeAll(): Promise<void> {
    const { db } = this.#deps
    while (this.#waiting.length > 0) {
      await writeReports(
        this.#waiting.splice(0, MAX_LINES_PER_WRITE),
        (reports) => recordLogsIfCurrent(db, reports),
        'log lines of handlers were not stored',
        this.#deps,
      )
    }
    if (this.#droppedCount > 0) this.#deps.log.warn({ count: this.#droppedCount }, 'log lines of handlers were dropped')
    this.#droppedCount = 0
  }
}

/** Never rejects. */
async function writeReports<Report>(
  batch: readonly Report[],
  write: (reports: readonly Report[]) => Promise<Event[]>,
  complaint: string,
  deps: ReportWriterDeps,
): Promise<void> {
  try {
    for (const event of await write(batch)) deps.publish([event])
  } catch (error) {
    if (batch.length === 1 || !isRefusedForGood(error))
      return deps.log.warn({ err: error, count: batch.length }, complaint)
    // One after another, because log lines have an order.
    for (const report of batch) await writeReports([report], write, complaint, deps)
  }
}
