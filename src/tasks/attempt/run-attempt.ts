/**
 * One attempt, as a pipe: claim → run (`run-handler.ts`) → decide (`outcome.ts`) → settle (`record-outcome.ts`).
 *
 * Guarantee: whatever the handler does, the attempt ends with exactly one recorded outcome, or another worker has taken
 * over and nothing is recorded.
 *
 * - The claim changes nothing: the attempt was claimed elsewhere. The delivery was late or repeated, and this is the
 *   end. Or the task is gated and was not released: it waits in its lane.
 * - The handler throws: the attempt failed. The task is RETRYING, or FAILED when it has no attempts left or the error
 *   says that another one would not help. A payload or result that does not fit its schema is such an error.
 * - The handler leaves an error uncaught, in a promise that is not awaited, a timer or a listener: the attempt fails as
 *   if it had thrown the error, and no other does. See `definitions/handler-scope.ts`.
 * - Cancellation was requested: the signal aborts with `cancelled`. A handler that continues is abandoned after a grace
 *   period, as is one beyond its time limit (`run-bounds.ts`). A result that it still returns is refused.
 * - The worker stops and the grace period ends: the signal aborts with `shutdown`, and the attempt is released.
 * - PostgreSQL becomes unavailable during the handler's transaction: the attempt is put back, because the outcome of
 *   the commit is unknown.
 * - The lease is lost: the signal aborts with `lease lost`. A result that the handler still returns is recorded if no
 *   other attempt has started. An error that it throws is not recorded: the relay rescues the attempt.
 * - The outcome cannot be stored: this is retried until it succeeds or the lease is lost. A failure to record an
 *   outcome never becomes a failure of the task, with one exception:
 * - PostgreSQL refuses the values of the outcome. It would refuse them every time, so the attempt fails permanently,
 *   with that reason. If that is refused too, the lease expires and the relay ends the attempt.
 */
import { crashPoint } from '../../crash-point.js'
import { callTypeCode } from '../../definitions/handler-scope.js'
import type { AttemptRef, ClaimedAttempt, ClaimRequest, HeldAttempt } from '../../store/attempts/claim.js'
import { readPutBackWait } from '../../store/attempts/put-back-waits.js'
import type { Settlement } from '../../store/attempts/settle.js'
import { decideSettlement, isPutBack, limitPutBack, type Outcome } from './outcome.js'
import { recordOutcome } from './record-outcome.js'
import { runHandler, type HandlerDeps } from './run-handler.js'
import { hasLostLease, type TrackedRun } from './tracked-run.js'

export interface AttemptDeps extends HandlerDeps {
  /** Called when the run starts. */
  track(ref: AttemptRef): TrackedRun
  /** Called when the release may have more to do: see `tasks/release/`. */
  wakeRelease?: () => void
  /** Called when a released attempt is claimed. */
  noteClaim?: () => void
  /** Called with each decision about an attempt. */
  noteOutcome?: (type: string, settlement: Settlement) => void
}

/** Runs one attempt from claim to record, without slots. Rejects only when the claim cannot be stored. */
export async function runAttempt(ref: AttemptRef, deps: AttemptDeps): Promise<void> {
  await runAttemptInSlots(ref, deps)
}

/**
 * Runs one attempt from claim to record. Rejects only when the claim cannot be stored.
 * @returns the slots it needs, when it could not start for lack of one; nothing has changed then
 */
export async function runAttemptInSlots(
  { taskId, attempt, slots }: ClaimRequest,
  deps: AttemptDeps,
): Promise<HeldAttempt | undefined> {
  const claimed = await deps.recorder.claim({ taskId, attempt, ...(slots && { slots }) })
  if (claimed === undefined || 'heldType' in claimed) return claimed
  if (!('id' in claimed)) return void deps.wakeRelease?.()
  if (claimed.gate === 'released') deps.noteClaim?.()
  crashPoint('attempt:after-claim')
  const run = deps.track({ taskId, attempt })
  try {
    const outcome = await runHandler(claimed, run, deps)
    crashPoint('attempt:after-run')
    run.ending()
    if (outcome === undefined) return undefined
    if (outcome.kind === 'failed' && hasLostLease(run.signal)) {
      deps.log.warn(
        { taskId, attempt, err: outcome.thrown },
        'a run failed after its lease was lost; it will be rescued',
      )
    } else {
      const settlement = await decide(claimed, outcome, deps)
      deps.noteOutcome?.(claimed.type, settlement)
      await recordOutcome(settlement, run.signal, deps)
    }
  } finally {
    run.end()
    if (claimed.gate === 'released') deps.wakeRelease?.()
  }
  return undefined
}

/** Decides what follows for the task. */
async function decide(
  claimed: ClaimedAttempt,
  outcome: Outcome,
  { db, registry, log }: AttemptDeps,
): Promise<Settlement> {
  const { id, attempt, type } = claimed
  const definition = registry.find(type)?.definition
  const warn = (message: string) => log.warn({ taskId: id, attempt, type }, `task type ${type}: ${message}`)
  const limited = isPutBack(outcome)
    ? limitPutBack(
        outcome,
        await readPutBackWait(db, id).catch(() => ({ count: 0, waitedMs: 0 })),
        definition?.putBackLimitMs,
        warn,
      )
    : outcome
  return callTypeCode(type, () => decideSettlement(claimed, limited, definition, warn))
}
