/**
 * Watches this process's event loop from a separate thread. A handler that computes without a pause stops everything
 * else here, heartbeats included, and no timer of the loop itself could notice.
 *
 * - Blocked for a while: a warning names the running type and shows the stack of the blocked thread.
 * - Blocked for the length of a lease: the attempts here are already lost, and this process can neither take jobs nor
 *   stop. It is killed, and its supervisor starts another.
 */
import { Worker } from 'node:worker_threads'
import type { Log } from '../log.js'

const TICK_MS = 100

export interface LoopWatchOptions {
  /** Warn after the loop has stood still for this long, in milliseconds. */
  warnAfterMs: number
  /** Kill the process after the loop has stood still for this long, in milliseconds. */
  killAfterMs: number
  logLevel: string
}

/** Data passed to the thread. */
export interface LoopWatchData extends LoopWatchOptions {
  /** One counter, which the watched loop increments. */
  ticks: Int32Array
}

/** Watches until the process ends. */
export function watchLoop(options: LoopWatchOptions, log: Log): void {
  const ticks = new Int32Array(new SharedArrayBuffer(4))
  const workerData: LoopWatchData = { ...options, ticks }
  const thread = new Worker(new URL('./loop-watch-thread.js', import.meta.url), {
    workerData,
    resourceLimits: { maxOldGenerationSizeMb: 32 },
  })
  thread.on('error', (error) => log.error({ err: error }, 'the event loop is no longer watched'))
  thread.unref()
  setInterval(() => Atomics.add(ticks, 0, 1), TICK_MS).unref()
}
