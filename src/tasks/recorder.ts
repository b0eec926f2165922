/**
 * Writes what attempts report, in batches: claims, progress, outcomes. Each is published after its commit, never before.
 *
 * Progress is coalesced: of what an attempt reports while a write is under way only the latest is written next. A lost
 * progress write or publication is logged and costs a watcher one step of a bar. Publications do not hold up the attempt:
 * PostgreSQL has the change already, and the watchers' position check finds what a broker lost.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { Database } from '../db/database.js'
import type { Event } from '../protocol/stream.js'
import type { TaskId } from '../protocol/task.js'
import { createBatcher } from './batcher.js'
import * as store from './store/index.js'

/** The least time between two progress writes of this process, in milliseconds. */
const PROGRESS_PAUSE_MS = 50

export interface RecorderOptions {
  db: Database
  publish(events: readonly Event[]): Promise<void>
  log: FastifyBaseLogger
  /** The name under which attempts are claimed. */
  worker: string
  /** How long an attempt is trusted without a sign of life. */
  leaseMs: number
}

export interface Recorder {
  /** Starts the attempt if it may still start; undefined: nothing changed. */
  claim(ref: store.AttemptRef): Promise<store.ClaimedAttempt | undefined>
  /** Notes the latest progress; written soon. */
  progress(report: store.ProgressReport): void
  /** Records how the attempt ended; false: it is no longer the current one, nothing changed. */
  settle(settlement: store.Settlement): Promise<boolean>
}

export function createRecorder({ db, publish, log, worker, leaseMs }: RecorderOptions): Recorder {
  const publications = createBatcher<Event, undefined>({
    maxInFlight: 1,
    async write(events) {
      await publish(events)
      return []
    },
  })
  const claims = createBatcher<store.AttemptRef, store.ClaimedAttempt | undefined>({
    write: (refs) => store.claimAttemptsIfDue(db, refs, worker, leaseMs),
  })
  const settlements = createBatcher<store.Settlement, Event | undefined>({
    write: (items) => store.settleAttemptsIfCurrent(db, items),
  })
  const reports = new Map<TaskId, store.ProgressReport>()
  let isWritingProgress = false

  const publishLater = (event: Event) => {
    publications.add(event).catch((error: unknown) => log.warn({ err: error, taskId: event.taskId }, 'an event was not published'))
  }

  async function writeProgress(): Promise<void> {
    if (isWritingProgress) return
    isWritingProgress = true
    while (reports.size > 0) {
      const batch = [...reports.values()]
      reports.clear()
      try {
        for (const message of await store.recordProgressIfCurrent(db, batch)) publishLater(message)
      } catch (error) {
        log.warn({ err: error }, 'progress was not stored')
      }
      await new Promise((resolve) => setTimeout(resolve, PROGRESS_PAUSE_MS))
    }
    isWritingProgress = false
  }

  return {
    async claim(ref) {
      const claimed = await claims.add(ref)
      if (claimed !== undefined) publishLater(store.toTransitionMessage({ ...claimed, taskId: claimed.id, reason: null }))
      return claimed
    },
    progress(report) {
      reports.set(report.taskId, report)
      void writeProgress()
    },
    async settle(settlement) {
      // What the run reported last belongs before its end.
      const last = reports.get(settlement.taskId)
      reports.delete(settlement.taskId)
      if (last !== undefined) await store.recordProgressIfCurrent(db, [last]).then((messages) => messages.forEach(publishLater))
      const message = await settlements.add(settlement)
      if (message !== undefined) publishLater(message)
      return message !== undefined
    },
  }
}
