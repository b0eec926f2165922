/**
 * Watches whether PostgreSQL answers this worker. While it does not, no jobs are taken: a worker that can claim nothing would
 * only hold them back from others.
 */
import type { Database } from '../db/database.js'
import type { Log } from '../log.js'
import { withDeadline } from '../timing/deadline.js'
import { startInterval, type Interval } from '../timing/interval.js'

const PROBE = { name: 'probe', text: 'select 1' }
const PROBE_INTERVAL_MS = 1_000
const PROBE_DEADLINE_MS = 2_000

export interface DatabaseWatchOptions {
  db: Database
  log: Log
  /** It does not answer any more. */
  onDown(): Promise<void>
  /** It answers again. */
  onUp(): Promise<void>
}

export function watchDatabase({ db, log, onDown, onUp }: DatabaseWatchOptions): Interval {
  let isUp = true

  async function probe(): Promise<void> {
    const answers = await withDeadline(db.run(PROBE, []), PROBE_DEADLINE_MS, 'no answer').then(() => true, () => false)
    if (answers === isUp) return
    isUp = answers
    log.warn(isUp ? 'PostgreSQL answers again; taking jobs' : 'PostgreSQL does not answer; taking no jobs')
    await (isUp ? onUp() : onDown())
  }

  return startInterval(probe, {
    everyMs: PROBE_INTERVAL_MS,
    onError: (error) => log.warn({ err: error }, 'the consumer could not be paused or resumed'),
  })
}
