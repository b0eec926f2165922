/**
 * Which run threw it? A handler's rejected promise that nothing awaits, or an exception in one of its timers and listeners,
 * reaches the process instead of the run, and the other runs of the process must not pay for it.
 *
 * - Each run has an async context. Node runs the process's listeners for such errors in the context of the code that threw, so
 *   the run is found, fails with the error itself, and its signal aborts with `failed`.
 * - The run's signal aborts inside that context, so that a listener that throws is found, too.
 * - Node tells of a rejection after the microtasks, so the run of a handler that returns at once stays open until then.
 * - After the end of the run its context is still known: the error is logged, and nothing fails.
 * - Of one run only the first `MAX_LOGGED` errors are logged: a loop of rejections, or an interval that throws for ever, would block the
 *   process with its log.
 * - Some errors have no context: one in a `queueMicrotask` callback, or in a listener that a run put on an object that other
 *   code uses. `failRunOf` says so, and the process cannot be trusted any more.
 *
 * @see https://nodejs.org/api/async_context.html
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Log } from '../../log.js'

/** Errors that are logged of one run. */
const MAX_LOGGED = 10

interface HandlerScope {
  fail(error: unknown, log: Log): void
}

/** What the log says of such an error, during the run and after its end. */
export const STRAY = 'the attempt failed by an error that its handler did not catch: await every promise, and catch errors in timers and listeners'
export const LATE_STRAY = 'an error was not caught that a handler caused after its attempt had ended: stop timers and listeners before the handler returns'

const STRAY_OF_TYPE = 'an error was not caught that the code of a type caused outside of a run: `uniqueBy`, `retryOn`, `backoff` and `toJSON` are called without awaiting'

const scopes = new AsyncLocalStorage<HandlerScope>()

export interface ScopeOptions {
  /** Asks the run to end. */
  signal: AbortSignal
  /** Called with each of the first `MAX_LOGGED` errors that were not caught; `isOver`: the run had ended before, so that nothing fails. */
  onStray(error: unknown, isOver: boolean): void
}

/**
 * Does the work of one run. Its own signal follows the given one, and aborts with `failed` after an error that was not caught.
 * @returns what the work returns; rejects with what it throws, wherever it does
 */
export async function runInScope<Result>({ signal, onStray }: ScopeOptions, work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
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

/** Resolves with what the work returns when Node has also told of the promises that it rejected. */
async function finish<Result>(work: Promise<Result>): Promise<Result> {
  const result = await work
  await new Promise((resolve) => setImmediate(resolve))
  return result
}

/** Calls code of a type outside of its run, in any process. What that leaves unhandled, such as a rejected promise, is logged, and nothing ends. */
export function callTypeCode<Result>(type: string, work: () => Result): Result {
  return scopes.run({ fail: (error, log) => log.error({ err: error, type }, STRAY_OF_TYPE) }, work)
}

/** Hands an error that was not caught to the run whose code threw it. False: it belongs to none. For the listeners of the process. */
export function failRunOf(error: unknown, log: Log): boolean {
  const scope = scopes.getStore()
  scope?.fail(error, log)
  return scope !== undefined
}
