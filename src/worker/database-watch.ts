/**
 * Checks whether PostgreSQL takes this worker's heartbeats. While it does not, the worker takes no jobs: it could claim
 * nothing and would only keep the jobs from other workers.
 */
import type { Log } from '../log.js'
import { withDeadline } from '../timing/deadline.js'
import { startInterval, type Interval } from '../timing/interval.js'

const PROBE_INTERVAL_MS = 1_000
const PROBE_DEADLINE_MS = 2_000

export interface DatabaseWatchOptions {
  /** Rejects when PostgreSQL does not answer, or takes no writes. */
  probe(): Promise<void>
  log: Log
  /** PostgreSQL has stopped answering. */
  onDown(): Promise<void>
  /** PostgreSQL answers again. */
  onUp(): Promise<void>
}

export function watchDatabase({ probe, log, onDown, onUp }: DatabaseWatchOptions): Interval {
  let isUp = true

  async function probeOnce(): Promise<void> {
    const error = await withDeadline(probe(), PROBE_DEADLINE_MS, 'no answer').then(
      () => undefined,
      (thrown: unknown) => thrown ?? new Error('no answer'),
    )
    const answers = error === undefined
    if (answers === isUp) return
    isUp = answers
    if (isUp) log.warn('PostgreSQL takes heartbeats again; taking jobs')
    else log.warn({ err: error }, 'PostgreSQL does not take the heartbeats of this worker; taking no jobs')
    await (isUp ? onUp() : onDown())
  }

  return startInterval(probeOnce, {
    everyMs: PROBE_INTERVAL_MS,
    onError: (error) => log.warn({ err: error }, 'taking jobs could not be paused or resumed'),
  })
}
