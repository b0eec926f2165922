/**
 * Finds the run that threw an uncaught error. A handler's rejected promise that is not awaited, or an exception in one
 * of its timers or listeners, reaches the process instead of the run, and must not harm the other runs of the process.
 *
 * - Each run has an async context. Node calls the process's listeners for such errors in the context of the code that
 *   threw, so the run is found. It fails with the error itself, and its signal aborts with `failed`.
 * - The run's signal aborts inside that context, so that a listener that throws is found too.
 * - Node reports a rejection after the microtasks, so the run of a handler that returns at once stays open until then.
 * - After the end of the run its context is still known: the error is logged, and nothing fails.
 * - Only the first `MAX_LOGGED` errors of a run are logged: a loop of rejections, or an interval that throws forever,
 *   would block the process with its log.
 * - Calls in that context that would end or stop the process fail the run and throw: see `own-process.ts`.
 * - Some errors have no context: one in a `queueMicrotask` callback, or in a listener that a run added to an object
 *   used by other code. `failRunOf` then returns false, and the process can no longer be trusted.
 *
 * @see https://nodejs.org/api/async_context.html
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Log } from '../log.js'

/** The most errors logged per run. */
const MAX_LOGGED = 10

interface HandlerScope {
  /** Whether it is that of a type, outside of its runs. */
  isOfType?: boolean
  fail(error: unknown, log: Log): void
}

/** Log messages for such an error, during the run and after its end. */
export const STRAY =
  'the attempt failed because its handler did not catch an error: await every promise, and catch errors in timers and listeners'
export const LATE_STRAY =
  'a handler caused an uncaught error after its attempt had ended: stop timers and listeners before the handler returns'

const STRAY_OF_TYPE =
  'the code of a type caused an uncaught error outside of a run: do not use promises in `checkPayload`, `uniqueBy`, `retryOn`, `backoff` and `toJSON`, which are not awaited'

const scopes = new AsyncLocalStorage<HandlerScope>()
/** The errors that `failCurrentRun` has thrown: their runs have failed already. */
const thrownRefusals = new WeakSet<object>()

export interface ScopeOptions {
  /** Aborts when the run should end. */
  signal: AbortSignal
  /**
   * Called for each of the first `MAX_LOGGED` uncaught errors. `isOver`: the run had already ended, so nothing fails.
   */
  onStray(error: unknown, isOver: boolean): void
}

/**
 * Runs `work` as one run. Its own signal follows the given one, and aborts with `failed` after an uncaught error.
 * @returns what `work` returns; rejects with any error that it throws, wherever that happens
 */
export async function runInScope<Result>(
  { signal, onStray }: ScopeOptions,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController()
  let isOver = false
  let count = 0
  let reject: (error: unknown) => void = () => {}
  const stray = new Promise<never>((_, refuse) => (reject = refuse))
  stray.catch(() => {})
  const scope: HandlerScope = {
    fail(error) {
      reject(error)
      controller.abort('failed')
      count += 1
      if (count <= MAX_LOGGED) onStray(error, isOver)
    },
  }
  const abort = () => scopes.run(scope, () => controller.abort(signal.reason))
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  try {
    return await Promise.race([scopes.run(scope, () => finish(work(controller.signal))), stray])
  } finally {
    isOver = true
    signal.removeEventListener('abort', abort)
  }
}

/** Resolves with the result of `work` once Node has also reported the promises that it rejected. */
async function finish<Result>(work: Promise<Result>): Promise<Result> {
  const result = await work
  await new Promise((resolve) => setImmediate(resolve))
  return result
}

/**
 * Calls code of a type outside of its run, in any process. Errors that it leaves uncaught, such as a rejected promise,
 * are logged, and the process continues.
 */
export function callTypeCode<Result>(type: string, work: () => Result): Result {
  return scopes.run({ isOfType: true, fail: (error, log) => log.error({ err: error, type }, STRAY_OF_TYPE) }, work)
}

/** Logs an error of code that `callTypeCode` has called. False when the current context is another. */
export function logErrorOfType(error: unknown, log: Log): boolean {
  const scope = scopes.getStore()
  if (scope?.isOfType !== true) return false
  scope.fail(error, log)
  return true
}

/**
 * For the process's listeners: passes an uncaught error to the run whose code threw it. False when it belongs to none.
 */
export function failRunOf(error: unknown, log: Log): boolean {
  // Here it may have lost its context: in a microtask, say.
  if (thrownRefusals.has(error as object)) return true
  const scope = scopes.getStore()
  scope?.fail(error, log)
  return scope !== undefined
}

/**
 * Fails the run in whose context this is called, or the code of a type that is called outside of one. Does nothing in
 * any other context.
 * @throws the error, so that the code that must not continue does not
 */
export function failCurrentRun(explain: () => Error, log: Log): void {
  const scope = scopes.getStore()
  if (scope === undefined) return
  const error = explain()
  thrownRefusals.add(error)
  scope.fail(error, log)
  throw error
}
