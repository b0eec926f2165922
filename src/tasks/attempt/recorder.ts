/**
 * Writes the reports of attempts in batches: claims, progress, outcomes. Each is published after its commit, never
 * before.
 *
 * Log lines of handlers are written in order, a few times a second, and before the end of their attempt.
 *
 * Progress is coalesced: of the reports of an attempt during a write, only the latest is written next. A lost write of
 * progress is logged and costs a stream one step of a progress bar. A report that PostgreSQL refuses loses only itself,
 * not the others of its batch. Publications go through the publisher (`broker/publisher.ts`) and do not hold up the
 * attempt.
 */
import { crashPoint } from '../../crash-point.js'
import type { Database } from '../../db/database.js'
import { isRefusedForGood, isRefusedStatement } from '../../db/refused-data.js'
import type { Log } from '../../log.js'
import type { Event } from '../../protocol/stream.js'
import type { TaskId } from '../../protocol/task.js'
import {
  type ClaimRequest,
  type ClaimedAttempt,
  type HeldAttempt,
  claimAttemptsInSlots,
} from '../../store/attempts/claim.js'
import { type LogReport, recordLogsIfCurrent } from '../../store/attempts/logs.js'
import { type ProgressReport, recordProgressIfCurrent } from '../../store/attempts/progress.js'
import { type Settlement, settleAttemptsIfCurrent } from '../../store/attempts/settle.js'
import { factsOf, toEvent } from '../../store/rows.js'
import { createBatcher } from '../../timing/batcher.js'

/** The shortest time between two writes of progress, and of log lines, in milliseconds. */
const REPORT_PAUSE_MS = 50
/** Most log lines that wait to be written. While PostgreSQL is away, further lines are dropped. */
const MAX_WAITING_LINES = 10_000
const MAX_LINES_PER_WRITE = 500

export interface RecorderOptions {
  db: Database
  /** Of the publisher: returns at once. */
  publish(events: readonly Event[]): void
  log: Log
  /** The worker's name for its claims. */
  worker: string
  /** How long an attempt is trusted without a heartbeat. */
  leaseMs: number
  /** The kinds for which an attempt needs a slot: see `claimAttemptsInSlots`. Default: none. */
  scarce?: readonly string[]
}

export interface Recorder {
  /** Starts the attempt if it may still start and holds the slots it needs; undefined: nothing changed. */
  claim(request: ClaimRequest): Promise<ClaimedAttempt | HeldAttempt | undefined>
  /** Takes the latest progress, to be written soon. */
  progress(report: ProgressReport): void
  /** Takes a log line of the handler, to be written soon, and before the end of the attempt. */
  log(report: LogReport): void
  /** Writes everything that the run has reported so far. */
  flush(taskId: TaskId): Promise<void>
  /** Publishes an event that was committed elsewhere. */
  announce(event: Event): void
  /** Records how the attempt ended. False: it is no longer the current one, and nothing changed. */
  settle(settlement: Settlement): Promise<boolean>
}

export function createRecorder({ db, publish, log, worker, leaseMs, scarce = [] }: RecorderOptions): Recorder {
  const claims = createBatcher<ClaimRequest, ClaimedAttempt | HeldAttempt | undefined>({
    write: (requests) => claimAttemptsInSlots(db, requests, worker, leaseMs, scarce),
    isItemsFault: isRefusedStatement,
  })
  const settlements = createBatcher<Settlement, Event | undefined>({
    write: (items) => settleAttemptsIfCurrent(db, items),
    isItemsFault: isRefusedStatement,
  })
  const reports = new Map<TaskId, ProgressReport>()
  let isWritingProgress = false
  let writingProgress: Promise<void> | undefined
  const lines: LogReport[] = []
  let writingLines: Promise<void> | undefined
  let linesTimer: NodeJS.Timeout | undefined

  const publishLater = (event: Event) => publish([event])

  async function writeProgress(): Promise<void> {
    if (isWritingProgress) return
    isWritingProgress = true
    while (reports.size > 0) {
      const batch = [...reports.values()]
      reports.clear()
      writingProgress = writeProgressReports(batch)
      await writingProgress
      await new Promise((resolve) => setTimeout(resolve, REPORT_PAUSE_MS))
    }
    isWritingProgress = false
  }

  const writeProgressReports = (batch: readonly ProgressReport[]) =>
    writeReports(batch, (reports) => recordProgressIfCurrent(db, reports), 'progress was not stored')

  /** Never rejects. */
  async function writeReports<Report>(
    batch: readonly Report[],
    write: (reports: readonly Report[]) => Promise<Event[]>,
    complaint: string,
  ): Promise<void> {
    try {
      for (const message of await write(batch)) publishLater(message)
    } catch (error) {
      if (batch.length === 1 || !isRefusedForGood(error))
        return log.warn({ err: error, count: batch.length }, complaint)
      // One after another, because log lines have an order.
      for (const report of batch) await writeReports([report], write, complaint)
    }
  }

  /**
   * One write at a time, so that lines stay in order. A failed write drops its lines: logging must not hold up the
   * task.
   */
  function writeLines(): Promise<void> {
    writingLines ??= writeWaitingLines().finally(() => (writingLines = undefined))
    return writingLines
  }

  async function writeWaitingLines(): Promise<void> {
    while (lines.length > 0) {
      const batch = lines.splice(0, MAX_LINES_PER_WRITE)
      await writeReports(batch, (reports) => recordLogsIfCurrent(db, reports), 'log lines of handlers were not stored')
    }
  }

  /** The run's last reports must be stored before its end. */
  async function flush(id: TaskId): Promise<void> {
    if (lines.some(({ taskId }) => taskId === id)) await writeLines()
    else await writingLines
    // If the end overtook it, it would become the progress of a finished attempt.
    await writingProgress
    const last = reports.get(id)
    reports.delete(id)
    if (last !== undefined) await writeProgressReports([last])
  }

  return {
    async claim(request) {
      const claimed = await claims.add(request)
      if (claimed !== undefined && 'id' in claimed)
        publishLater(toEvent({ ...claimed, taskId: claimed.id, reason: null, facts: factsOf(claimed) }))
      return claimed
    },
    progress(report) {
      reports.set(report.taskId, report)
      void writeProgress()
    },
    log(report) {
      if (lines.length >= MAX_WAITING_LINES) return
      lines.push(report)
      linesTimer ??= setTimeout(() => {
        linesTimer = undefined
        void writeLines()
      }, REPORT_PAUSE_MS)
    },
    flush,
    announce: publishLater,
    async settle(settlement) {
      await flush(settlement.taskId)
      const message = await settlements.add(settlement)
      crashPoint('attempt:after-settle')
      if (message !== undefined) publishLater(message)
      return message !== undefined
    },
  }
}
