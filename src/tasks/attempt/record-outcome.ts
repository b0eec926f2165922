/** Records the outcome of an attempt, however long PostgreSQL is away, as long as the lease is held. */
import { isRefusedForGood } from '../../db/refused-data.js'
import type { Log } from '../../log.js'
import type { Settlement } from '../../store/attempts/settle.js'
import { retry } from '../../timing/retry.js'
import { settleRefused } from './outcome.js'
import type { Recorder } from './recorder.js'
import { hasLostLease } from './tracked-run.js'

const PAUSES = { firstMs: 100, maxMs: 2_000 }

interface RecordDeps {
  recorder: Pick<Recorder, 'settle'>
  log: Log
}

/**
 * Never rejects. Values that PostgreSQL refuses are replaced by a failure with that reason.
 * @param signal of the run: it says whether the lease is lost
 * @param isSubstitute whether it replaces an outcome whose values were refused
 */
export async function recordOutcome(
  settlement: Settlement,
  signal: AbortSignal,
  deps: RecordDeps,
  isSubstitute = false,
): Promise<void> {
  const { recorder, log } = deps
  const { taskId, attempt } = settlement
  const ref = { taskId, attempt }
  const isLost = () => hasLostLease(signal)
  try {
    const isRecorded = await retry(() => recorder.settle(settlement), {
      ...PAUSES,
      isWorthwhile: (error) => !isLost() && !isRefusedForGood(error),
      onRetry: (error) => log.warn({ err: error, ...ref }, 'an outcome was not stored; trying again'),
    })
    if (!isRecorded) log.warn(ref, 'discarding a late outcome: the attempt is no longer current')
  } catch (error) {
    if (isLost())
      return log.error(
        { err: error, ...ref },
        'an outcome was not stored before the lease ran out; the attempt will be rescued',
      )
    log.error({ err: error, ...ref }, 'PostgreSQL refused the values of an outcome; the attempt fails')
    if (!isSubstitute) await recordOutcome(settleRefused(settlement, error), signal, deps, true)
  }
}
