/**
 * Writes what attempts report, in batches: claims, progress, log lines, outcomes. Each is published after its commit,
 * never before. Publications go through the publisher (`broker/publisher.ts`) and do not hold up the attempt.
 *
 * Progress and log lines are written a few times a second (`report-writers.ts`), and before the end of their attempt.
 */
import { crashPoint } from '../../crash-point.js'
import type { Database } from '../../db/database.js'
import { isRefusedStatement } from '../../db/refused-data.js'
import type { Log } from '../../log.js'
import type { Event } from '../../protocol/stream.js'
import type { TaskId } from '../../protocol/task.js'
import {
  type ClaimRequest,
  type ClaimedAttempt,
  type GatedAttempt,
  type HeldAttempt,
  claimAttemptsInSlots,
} from '../../store/attempts/claim.js'
import type { LogReport } from '../../store/attempts/logs.js'
import type { ProgressReport } from '../../store/attempts/progress.js'
import { type Settlement, settleAttemptsIfCurrent } from '../../store/attempts/settle.js'
import { factsOf, toEvent } from '../../store/rows.js'
import { createBatcher } from '../../timing/batcher.js'
import { LogWriter, ProgressWriter } from './report-writers.js'

export interface RecorderOptions {
  db: Database
  /** Of the publisher: returns at once. */
  publish(events: readonly Event[]): void
  log: Log
  /** The worker's name for its claims. */
  worker: string
  /** How long an attempt is trusted without a heartbeat. */
  leaseMs: number
  /** The kinds for which an attempt needs a slot now: see `claimAttemptsInSlots`. Default: none. */
  scarce?: () => readonly string[]
}

export interface Recorder {
  /** Starts the attempt if it may still start and holds the slots it needs; undefined: nothing changed. */
  claim(request: ClaimRequest): Promise<ClaimedAttempt | HeldAttempt | GatedAttempt | undefined>
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

export function createRecorder({ db, publish, log, worker, leaseMs, scarce = () => [] }: RecorderOptions): Recorder {
  const claims = createBatcher<ClaimRequest, ClaimedAttempt | HeldAttempt | GatedAttempt | undefined>({
    write: (requests) => claimAttemptsInSlots(db, requests, worker, leaseMs, scarce()),
    isItemsFault: isRefusedStatement,
  })
  const settlements = createBatcher<Settlement, Event | undefined>({
    write: (items) => settleAttemptsIfCurrent(db, items),
    isItemsFault: isRefusedStatement,
  })
  const progress = new ProgressWriter({ db, publish, log })
  const lines = new LogWriter({ db, publish, log })

  async function flush(id: TaskId): Promise<void> {
    await lines.flush(id)
    await progress.flush(id)
  }

  return {
    async claim(request) {
      const claimed = await claims.add(request)
      if (claimed !== undefined && 'id' in claimed)
        publish([toEvent({ ...claimed, taskId: claimed.id, reason: null, facts: factsOf(claimed) })])
      return claimed
    },
    progress: (report) => progress.add(report),
    log: (line) => lines.add(line),
    flush,
    announce: (event) => publish([event]),
    async settle(settlement) {
      await flush(settlement.taskId)
      const event = await settlements.add(settlement)
      crashPoint('attempt:after-settle')
      if (event !== undefined) publish([event])
      return event !== undefined
    },
  }
}
