/**
 * One attempt, as a pipe: claim → run → decide → settle.
 *
 * Guarantee: whatever the handler does, the attempt ends with exactly one recorded outcome, or another worker has taken
 * over and nothing is recorded. What follows for the task is decided in `outcome.ts`.
 *
 * - The claim changes nothing: the attempt was claimed elsewhere. The delivery was late or repeated, and this is the
 *   end.
 * - The handler throws: the attempt failed. The task is RETRYING, or FAILED when it has no attempts left or the error
 *   says that another one would not help. A payload or result that does not fit its schema is such an error.
 * - The handler leaves an error uncaught, in a promise that is not awaited, a timer or a listener: the attempt fails as
 *   if it had thrown the error, and no other does. See `definitions/handler-scope.ts`.
 * - Cancellation was requested: the signal aborts with `cancelled`. A handler that continues is abandoned after a grace
 *   period, as is one beyond its time limit. A result that it still returns is refused.
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
import type { Database } from '../../db/database.js'
import { isRefusedForGood } from '../../db/refused-data.js'
import type { RegisteredType } from '../../definitions/registry.js'
import type { FieldError } from '../../protocol/errors.js'
import type { AttemptRef, ClaimedAttempt, ClaimRequest, HeldAttempt } from '../../store/attempts/claim.js'
import { readPutBackWait, readTypeWait } from '../../store/attempts/put-back-waits.js'
import type { Settlement } from '../../store/attempts/settle.js'
import { retry } from '../../timing/retry.js'
import { createTaskContext, type OpenTaskContext, type WorkerServices } from './context/task-context.js'
import { callTypeCode, LATE_STRAY, runInScope, STRAY } from '../../definitions/handler-scope.js'
import { ProcessEndedError, type IsolatedEnd, type IsolatedRuns } from './isolated-run.js'
import {
  checkResult,
  explainError,
  explainNoHandler,
  explainProcessEnd,
  fail,
  isPutBack,
  decideSettlement,
  settleReturned,
  limitPutBack,
  settleRefused,
  type AbortReason,
  type Outcome,
} from './outcome.js'
import { startLimits, type RunLimits } from './run-limits.js'

const DEFAULT_TYPE_WINDOW_MS = 3_600_000
const RECORD_PAUSES = { firstMs: 100, maxMs: 2_000 }

export interface AttemptDeps extends WorkerServices {
  /**
   * The database for handlers' queries. Default: `db`. A handler's statement may take minutes, and must not hold up a
   * claim.
   */
  handlerDb?: Database | undefined
  /** Runs handlers in processes of their own. */
  isolatedRuns?: IsolatedRuns | undefined
  /** How long a task waits for a worker that knows its type, in milliseconds. Default: an hour. */
  typeWindowMs?: number
  /** How long a handler may take to end after its task was cancelled, before it is abandoned. */
  cancelGraceMs: number
  /** Called when the run starts. */
  track(ref: AttemptRef): TrackedRun
}

/** A run whose lease is renewed. */
export interface TrackedRun {
  readonly signal: AbortSignal
  abort(reason: AbortReason): void
  /** The handler has finished; its outcome is about to be recorded. */
  ending(): void
  /** The run is over. Must be called. */
  end(): void
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
  crashPoint('attempt:after-claim')
  const run = deps.track({ taskId, attempt })
  try {
    const outcome = await execute(claimed, run, deps)
    crashPoint('attempt:after-run')
    run.ending()
    if (outcome === undefined) return undefined
    if (outcome.kind === 'failed' && hasLostLease(run.signal)) {
      deps.log.warn(
        { taskId, attempt, err: outcome.thrown },
        'a run failed after its lease was lost; it will be rescued',
      )
    } else {
      await record(await decide(claimed, outcome, deps), run.signal, deps)
    }
  } finally {
    run.end()
  }
  return undefined
}

/**
 * Whether the worker gave the run up because its lease may have expired. What the handler throws then says nothing about
 * the task: most of the time it is the abort itself. The attempt counts as lost, and the relay rescues it.
 */
function hasLostLease(signal: AbortSignal): boolean {
  return signal.aborted && signal.reason === ('lease lost' satisfies AbortReason)
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

/** Undefined: the handler has committed the outcome together with its own rows. */
async function execute(claimed: ClaimedAttempt, run: TrackedRun, deps: AttemptDeps): Promise<Outcome | undefined> {
  const registered = deps.registry.find(claimed.type)
  if (registered === undefined)
    return explainNoHandler(
      claimed.type,
      await readTypeWait(deps.db, claimed.id).catch(() => ({ count: 0, waitedMs: 0 })),
      deps.typeWindowMs ?? DEFAULT_TYPE_WINDOW_MS,
    )
  if (deps.isolatedRuns !== undefined && (claimed.timesLost > 0 || registered.definition.isolation === 'process')) {
    return runIsolated(claimed, registered, run, deps, deps.isolatedRuns)
  }
  const { payload, errors } = registered.readPayload(claimed.payload)
  // Checked at create already, but the definition may have changed since.
  if (errors[0] !== undefined) return refusePayload(errors[0])
  const bounds = boundRun(claimed, registered, run, deps)
  bounds.begin()
  try {
    return await Promise.race([
      runHandler({ claimed, registered, payload, signal: run.signal, alive: bounds.alive }, deps),
      bounds.over,
    ])
  } finally {
    bounds.stop()
  }
}

/**
 * Runs the handler in a process of its own, which is killed when the run ends before the process does. Time limits
 * start with the handler.
 */
async function runIsolated(
  claimed: ClaimedAttempt,
  registered: RegisteredType,
  run: TrackedRun,
  deps: AttemptDeps,
  isolatedRuns: IsolatedRuns,
): Promise<Outcome | undefined> {
  const { isolation, memoryLimitMb } = registered.definition
  const bounds = boundRun(claimed, registered, run, deps)
  const { ended, kill } = isolatedRuns.start({
    claimed,
    memoryLimitMb,
    signal: run.signal,
    alive: bounds.alive,
    begin: bounds.begin,
    isSuspect: claimed.timesLost > 0,
    // The first time any process will do. If that ends too, the next one must not be shared.
    isFresh: claimed.timesLost > 1,
    mayBlock: isolation === 'process',
  })
  let hasEnded = false
  const outcome = ended
    .then((end) => readIsolatedEnd(registered, end))
    .catch((error: unknown) =>
      error instanceof ProcessEndedError && !run.signal.aborted
        ? explainProcessEnd(error)
        : explainError(error, run.signal),
    )
    .finally(() => (hasEnded = true))
  try {
    return await Promise.race([outcome, bounds.over])
  } finally {
    bounds.stop()
    if (!hasEnded) kill()
  }
}

function readIsolatedEnd(registered: RegisteredType, end: IsolatedEnd): Outcome | undefined {
  if (end.kind === 'committed') return undefined
  return end.kind === 'violation' ? refusePayload(end.error) : checkResult(registered, end.result)
}

function refusePayload({ pointer, detail }: FieldError): Outcome {
  return fail('invalid_payload', new Error(`/payload${pointer} ${detail}`))
}

interface HandlerRun {
  claimed: ClaimedAttempt
  registered: RegisteredType
  payload: unknown
  signal: AbortSignal
  alive: () => void
}

/** Runs the handler to its end, however long that takes. */
async function runHandler(run: HandlerRun, deps: AttemptDeps): Promise<Outcome | undefined> {
  const { claimed, registered, payload, signal, alive } = run
  let opened: OpenTaskContext | undefined
  const isCommitted = () => opened?.isCommitted() ?? false
  const onStray = (error: unknown, isOver: boolean) => {
    deps.log.error(
      { err: error, taskId: claimed.id, attempt: claimed.attempt, type: claimed.type },
      isOver ? LATE_STRAY : STRAY,
    )
    if (!isOver) opened?.context.log.error({ err: error }, STRAY)
  }
  try {
    // The abort event fires once: a handler that starts after it would wait for it in vain.
    signal.throwIfAborted()
    const result = await runInScope({ signal, onStray }, (own) => {
      opened = createTaskContext(claimed, own, {
        ...deps,
        db: deps.handlerDb ?? deps.db,
        alive,
        settleReturned: (returned) => settleReturned(claimed, registered, returned),
      })
      return registered.run(payload, opened.context)
    })
    return isCommitted() ? undefined : callTypeCode(claimed.type, () => checkResult(registered, result))
  } catch (error) {
    if (isCommitted()) {
      deps.log.warn(
        { err: error, taskId: claimed.id, attempt: claimed.attempt },
        'a handler failed after it had committed its task',
      )
      return undefined
    }
    return explainError(error, signal)
  }
}

/** Ends a run from outside: at its time limits, or when it ignores a cancellation. */
function boundRun(
  { id, attempt, type }: ClaimedAttempt,
  { definition }: RegisteredType,
  run: TrackedRun,
  deps: AttemptDeps,
) {
  const { timeLimits = {} } = definition
  let grace: NodeJS.Timeout | undefined
  let onAbort = () => {}
  let limits: RunLimits | undefined
  let begin = () => {}
  const over = new Promise<Outcome | undefined>((resolve) => {
    const leaveBehind = (outcome: Outcome | undefined, why: string) => {
      deps.log.warn({ taskId: id, attempt, type }, `abandoning a run: ${why}`)
      resolve(outcome)
      run.abort('time limit')
    }
    begin = () =>
      (limits = startLimits(timeLimits, {
        onSoft: () => run.abort('time limit'),
        onHard: () =>
          leaveBehind(fail('time_limit', new Error(`the run took longer than ${timeLimits.hardMs} ms`)), 'time limit'),
        onSilence: () =>
          leaveBehind(
            fail('no_heartbeat', new Error(`the run sent no heartbeat for ${timeLimits.heartbeatMs} ms`)),
            'no heartbeat',
          ),
      }))
    onAbort = () => {
      const { reason } = run.signal as { reason: AbortReason }
      if (reason !== 'cancelled' && reason !== 'lease lost') return
      // After a lost lease, another worker records the outcome.
      const outcome =
        reason === 'cancelled'
          ? ({ kind: 'cancelled', reason: 'the handler did not stop by itself' } as const)
          : undefined
      grace = setTimeout(() => leaveBehind(outcome, 'it ignored its signal'), deps.cancelGraceMs)
    }
    run.signal.addEventListener('abort', () => onAbort(), { once: true })
    if (run.signal.aborted) onAbort()
  })
  return {
    over,
    /** The handler begins: start the time limits. */
    begin: () => begin(),
    alive: () => limits?.alive(),
    stop() {
      limits?.stop()
      clearTimeout(grace)
      onAbort = () => {}
    },
  }
}

/** @param isSubstitute whether it replaces an outcome whose values were refused */
async function record(
  settlement: Settlement,
  signal: AbortSignal,
  deps: AttemptDeps,
  isSubstitute = false,
): Promise<void> {
  const { recorder, log } = deps
  const ref = refOf(settlement)
  const isLost = () => hasLostLease(signal)
  try {
    const isRecorded = await retry(() => recorder.settle(settlement), {
      ...RECORD_PAUSES,
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
    if (!isSubstitute) await record(settleRefused(settlement, error), signal, deps, true)
  }
}

function refOf({ taskId, attempt }: AttemptRef): AttemptRef {
  return { taskId, attempt }
}
