/**
 * Watches this process's event loop from a thread of its own: a handler that computes without a pause stops everything
 * else here, heartbeats included, and no timer of the loop itself could tell.
 *
 * - Blocked for a while: a warning that names what runs and where it is, from the stack of the blocked thread.
 * - Blocked for as long as a lease: the attempts here are lost already, and this process can neither take jobs nor stop.
 *   It is killed; whoever supervises it starts another one.
 */
import { Worker } from 'node:worker_threads'
import type { Log } from '../log.js'

const TICK_MS = 100

export interface LoopWatchOptions {
  /** A warning comes after the loop stood still for so long, in milliseconds. */
  warnAfterMs: number
  /** The process is killed after the loop stood still for so long, in milliseconds. */
  killAfterMs: number
  logLevel: string
}

/** What the thread is started with. */
export interface LoopWatchData extends LoopWatchOptions {
  /** One counter, which the watched loop keeps moving. */
  ticks: Int32Array
}

/** Watches to the end of the process. */
export function watchLoop(options: LoopWatchOptions, log: Log): void {
  const ticks = new Int32Array(new SharedArrayBuffer(4))
  const workerData: LoopWatchData = { ...options, ticks }
  const thread = new Worker(new URL('./loop-watch-thread.js', import.meta.url), { workerData, resourceLimits: { maxOldGenerationSizeMb: 32 } })
  thread.on('error', (error) => log.error({ err: error }, 'the event loop is no longer watched'))
  thread.unref()
  setInterval(() => Atomics.add(ticks, 0, 1), TICK_MS).unref()
}
