/**
 * The calls of `process` by which the code of a type would end, stop or signal its own process, its worker, or whatever
 * started that. Each fails the run that makes it, and throws; all other runs go on.
 *
 * Not covered is what JavaScript cannot intercept, such as `process.abort`, a native library, or a program that the
 * handler starts: see `worker/quarantine.ts`.
 */
import { syncBuiltinESMExports } from 'node:module'
import type { Log } from '../log.js'
import { failCurrentRun, logErrorOfType } from './handler-scope.js'

type Call = (...args: unknown[]) => unknown

/** The events at which a role stops in order. */
const STOP_EVENTS: ReadonlySet<unknown> = new Set(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'disconnect'])

/** Which calls are refused, by their arguments. */
const REFUSED: Record<string, (...args: unknown[]) => boolean> = {
  exit: () => true,
  disconnect: () => true,
  // The channel is that of the role or of the isolated process, whose parent trusts it.
  send: () => true,
  // Signal 0 only asks whether the process exists. A pid may be a text, and one below 1 means a process group.
  kill: (pid, signal) =>
    signal !== 0 && [0, -1, process.pid, -process.pid, process.ppid, -process.ppid].includes(Number(pid)),
  emit: (event) => STOP_EVENTS.has(event),
}

/** From now on, refuses these calls to handlers and other code of types. Call it before that code is loaded. */
export function guardOwnProcess(log: Log): void {
  for (const [name, isRefused] of Object.entries(REFUSED)) {
    const call = Reflect.get(process, name) as Call | undefined
    // Without a supervisor there is nothing to disconnect from.
    if (call === undefined) continue
    Reflect.set(process, name, (...args: unknown[]) => {
      if (isRefused(...args)) assertOutsideOfRuns(`process.${name}(${args.filter(isPlain).join(', ')})`, log)
      return Reflect.apply(call, process, args)
    })
  }
  guardMicrotasks(log)
  // For `import { exit } from 'node:process'`.
  syncBuiltinESMExports()
}

/**
 * Errors in `queueMicrotask` callbacks of the code of types outside of runs are logged, and the process continues. Node
 * reports them without a context, so they are caught in it. Those of handlers end the process as before.
 */
function guardMicrotasks(log: Log): void {
  const queue = globalThis.queueMicrotask
  globalThis.queueMicrotask = (callback) =>
    queue(
      typeof callback !== 'function'
        ? callback
        : () => {
            try {
              callback()
            } catch (error) {
              if (!logErrorOfType(error, log)) throw error
            }
          },
    )
}

/** @throws the error with which the run that makes this call fails */
function assertOutsideOfRuns(call: string, log: Log): void {
  failCurrentRun(
    () => new Error(`${call} was called, which would affect other runs than its own: throw an error instead`),
    log,
  )
}

function isPlain(value: unknown): value is string | number {
  return typeof value === 'string' || typeof value === 'number'
}
