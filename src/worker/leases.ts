/**
 * Renews the leases of the attempts that run in this process, and aborts the runs that lost theirs.
 *
 * One statement renews all leases every third of a lease. A run whose lease was not renewed is aborted at once. When no
 * renewal has succeeded for so long that the leases may have expired (by a monotonic clock, never the wall clock), all
 * runs are aborted before another worker may take over.
 */
import type { Database } from '../db/database.js'
import type { Log } from '../log.js'
import type { AttemptRef } from '../store/attempts/claim.js'
import { giveUpLeases, renewLeasesIfHeld } from '../store/attempts/lease.js'
import type { AbortReason } from '../tasks/attempt/outcome.js'
import type { TrackedRun } from '../tasks/attempt/tracked-run.js'
import { startInterval } from '../timing/interval.js'

/** Long enough for this process to end before its attempts start elsewhere. */
const GIVEN_UP_AFTER_MS = 250

interface Run extends AttemptRef {
  controller: AbortController
  /** When the lease was last known to hold, on the monotonic clock. */
  heldAtMs: number
  /** The handler has finished. A missing lease was then probably removed by recording the outcome. */
  isEnding: boolean
}

export interface Leases {
  track(ref: AttemptRef): TrackedRun
  countRunning(): number
  /** Cancellation of this task was requested. */
  cancel(ref: AttemptRef): void
  /** Aborts every run. */
  abortAll(reason: AbortReason): void
  /** Renews all leases once. */
  renewOnce(): Promise<void>
  /**
   * For a process that is about to end regardless of its runs: shortens their leases, so that they are rescued soon.
   */
  giveUp(): Promise<void>
  stop(): void
}

export function startLeases(options: { db: Database; leaseMs: number; log: Log }): Leases {
  const { db, leaseMs, log } = options
  const runs = new Set<Run>()

  async function renewOnce(): Promise<void> {
    const held = [...runs]
    if (held.length === 0) return
    const startedAtMs = performance.now()
    const renewed = await renewLeasesIfHeld(
      db,
      held.map(({ taskId, attempt }) => ({ taskId, attempt })),
      leaseMs,
    )
    const names = new Set(renewed.map(nameOf))
    for (const ref of renewed) if (ref.isCancelling) cancel(ref)
    for (const run of held) {
      if (names.has(nameOf(run))) run.heldAtMs = startedAtMs
      else if (runs.has(run) && !run.isEnding) abort(run, 'lease lost')
    }
  }

  /** Aborts runs whose lease may have expired unnoticed, because the database could not be asked. */
  function abortOverdue(): void {
    const latest = performance.now() - leaseMs * 0.9
    for (const run of runs) if (run.heldAtMs < latest) abort(run, 'lease lost')
  }

  function abort(run: Run, reason: AbortReason): void {
    if (run.controller.signal.aborted && run.controller.signal.reason !== 'shutdown') return
    log.warn({ taskId: run.taskId, attempt: run.attempt, reason }, 'aborting a run')
    run.controller.abort(reason)
  }

  function cancel(ref: AttemptRef): void {
    for (const run of runs) if (nameOf(run) === nameOf(ref)) abort(run, 'cancelled')
  }

  const renewal = startInterval(renewOnce, {
    everyMs: leaseMs / 3,
    onError: (error) => log.warn({ err: error }, 'leases were not renewed; trying again'),
  })
  const deadline = setInterval(abortOverdue, Math.max(leaseMs / 20, 50))

  function stop(): void {
    renewal.stop()
    clearInterval(deadline)
  }

  return {
    track(ref) {
      const run: Run = { ...ref, controller: new AbortController(), heldAtMs: performance.now(), isEnding: false }
      runs.add(run)
      return {
        signal: run.controller.signal,
        abort: (reason) => abort(run, reason),
        ending: () => (run.isEnding = true),
        end: () => runs.delete(run),
      }
    },
    countRunning: () => runs.size,
    cancel,
    abortAll(reason) {
      for (const run of runs) abort(run, reason)
    },
    renewOnce,
    async giveUp() {
      stop()
      await giveUpLeases(
        db,
        [...runs].map(({ taskId, attempt }) => ({ taskId, attempt })),
        GIVEN_UP_AFTER_MS,
      )
    },
    stop,
  }
}

function nameOf({ taskId, attempt }: AttemptRef): string {
  return `${taskId} ${attempt}`
}
