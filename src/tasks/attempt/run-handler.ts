/**
 * Runs the handler of a claimed attempt, in this process or in one of its own, until it ends or is abandoned. Its result
 * and its errors become an outcome.
 */
import type { Database } from '../../db/database.js'
import { callTypeCode, runInScope } from '../../definitions/handler-scope.js'
import type { RegisteredType } from '../../definitions/registry.js'
import type { FieldError } from '../../protocol/errors.js'
import type { ClaimedAttempt } from '../../store/attempts/claim.js'
import { readTypeWait } from '../../store/attempts/put-back-waits.js'
import { createTaskContext, type OpenTaskContext, type WorkerServices } from './context/task-context.js'
import { ProcessEndedError, type IsolatedEnd, type IsolatedRuns } from './isolated-run.js'
import { logStray } from './log-stray.js'
import {
  checkResult,
  explainError,
  explainNoHandler,
  explainProcessEnd,
  fail,
  settleReturned,
  type Outcome,
} from './outcome.js'
import { RunBounds } from './run-bounds.js'
import type { TrackedRun } from './tracked-run.js'

const DEFAULT_TYPE_WINDOW_MS = 3_600_000

export interface HandlerDeps extends WorkerServices {
  /**
   * The database for handlers' queries. Default: `db`. A handler's statement may take minutes, and must not hold up a
   * claim.
   */
  handlerDb?: Database | undefined
  /** Runs handlers in processes of their own. */
  isolatedRuns?: IsolatedRuns | undefined
  /** The types whose handlers have ended a process: they run in processes of their own. */
  quarantine?: { has(type: string): boolean; add(type: string, reason: string): unknown } | undefined
  /** How long a task waits for a worker that knows its type, in milliseconds. Default: an hour. */
  typeWindowMs?: number
  /** How long a handler may take to end after its task was cancelled, before it is abandoned, in milliseconds. */
  cancelGraceMs: number
}

/** Undefined: the handler has committed the outcome together with its own rows, or another worker records it. */
export async function runHandler(
  claimed: ClaimedAttempt,
  run: TrackedRun,
  deps: HandlerDeps,
): Promise<Outcome | undefined> {
  const registered = deps.registry.find(claimed.type)
  if (registered === undefined)
    return explainNoHandler(
      claimed.type,
      await readTypeWait(deps.db, claimed.id).catch(() => ({ count: 0, waitedMs: 0 })),
      deps.typeWindowMs ?? DEFAULT_TYPE_WINDOW_MS,
    )
  const { isolation, timeLimits = {} } = registered.definition
  const bounds = new RunBounds(claimed, timeLimits, run, deps)
  const isSuspect = claimed.timesLost > 0 || deps.quarantine?.has(claimed.type) === true
  const handlerRun = { claimed, registered, isSuspect, signal: run.signal, bounds }
  const isolatedRuns = isSuspect || isolation === 'process' ? deps.isolatedRuns : undefined
  try {
    return await Promise.race([
      isolatedRuns === undefined ? runHere(handlerRun, deps) : runIsolated(handlerRun, isolatedRuns, deps),
      bounds.over,
    ])
  } finally {
    bounds.stop()
  }
}

interface HandlerRun {
  claimed: ClaimedAttempt
  registered: RegisteredType
  /** The task, or another of its type, may end its process. */
  isSuspect: boolean
  signal: AbortSignal
  bounds: RunBounds
}

/**
 * Runs the handler in a process of its own, which is killed when the run is abandoned. Time limits start with the
 * handler.
 */
async function runIsolated(
  { claimed, registered, isSuspect, signal, bounds }: HandlerRun,
  isolatedRuns: IsolatedRuns,
  { quarantine }: HandlerDeps,
): Promise<Outcome | undefined> {
  const { isolation, memoryLimitMb } = registered.definition
  /** Not of a type that never runs in a worker's own process. */
  const endsWorkers = (reason: string) => isolation !== 'process' && void quarantine?.add(claimed.type, reason)
  const { ended, kill } = isolatedRuns.start({
    claimed,
    memoryLimitMb,
    signal,
    alive: () => bounds.alive(),
    begin: () => bounds.begin(),
    isSuspect,
    endsWorkers,
    // At first any process will do, which is there in milliseconds. If that ends, the next one must not be shared.
    isFresh: claimed.timesProcessLost > 0,
    mayBlock: isolation === 'process',
  })
  void bounds.over.then(kill)
  try {
    return readIsolatedEnd(registered, await ended)
  } catch (error) {
    if (!(error instanceof ProcessEndedError) || signal.aborted) return explainError(error, signal)
    if (error.isProven) endsWorkers(error.message)
    return explainProcessEnd(error)
  }
}

function readIsolatedEnd(registered: RegisteredType, end: IsolatedEnd): Outcome | undefined {
  if (end.kind === 'committed') return undefined
  return end.kind === 'violation' ? refusePayload(end.error) : checkResult(registered, end.result)
}

function refusePayload({ pointer, detail }: FieldError): Outcome {
  return fail('invalid_payload', new Error(`/payload${pointer} ${detail}`))
}

/** Runs the handler in this process to its end, however long that takes. */
async function runHere(
  { claimed, registered, signal, bounds }: HandlerRun,
  deps: HandlerDeps,
): Promise<Outcome | undefined> {
  const { payload, errors } = registered.readPayload(claimed.payload)
  // Checked at create already, but the definition may have changed since.
  if (errors[0] !== undefined) return refusePayload(errors[0])
  bounds.begin()
  const { log, handlerDb: db = deps.db } = deps
  const { id: taskId, attempt, type } = claimed
  let opened: OpenTaskContext | undefined
  const isCommitted = () => opened?.isCommitted() ?? false
  const onStray = (error: unknown, isOver: boolean) => logStray(error, isOver, claimed, opened?.context, log)
  try {
    // The abort event fires once: a handler that starts after it would wait for it in vain.
    signal.throwIfAborted()
    const result = await runInScope({ signal, onStray }, (own) => {
      opened = createTaskContext(claimed, own, {
        ...deps,
        db,
        alive: () => bounds.alive(),
        settleReturned: (returned) => settleReturned(claimed, registered, returned),
      })
      return registered.run(payload, opened.context)
    })
    return isCommitted() ? undefined : callTypeCode(type, () => checkResult(registered, result))
  } catch (error) {
    if (!isCommitted()) return explainError(error, signal)
    log.warn({ err: error, taskId, attempt }, 'a handler failed after it had committed its task')
    return undefined
  }
}
