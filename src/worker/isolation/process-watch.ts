/** Watches the process of a handler from its worker, and explains its end. */
import type { ChildProcess } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { ProcessEndedError } from '../../tasks/attempt/isolated-run.js'

const CHECK_INTERVAL_MS = 500
const PAGE_BYTES = 4_096
export const MB = 1024 * 1024

export interface ProcessEnd {
  code: number | null
  signal: NodeJS.Signals | null
}

/**
 * V8 ends a process whose heap is full with SIGABRT (exit code 134 when a shell is in between), as `process.abort` does:
 * from outside the two look alike.
 */
export function explainEnd(
  { code, signal }: ProcessEnd,
  memoryLimitMb: number | undefined,
  isProven: boolean,
): ProcessEndedError {
  if (memoryLimitMb !== undefined && (signal === 'SIGABRT' || code === 134)) {
    return new ProcessEndedError(
      'memory_limit',
      `the run used more memory than its limit of ${memoryLimitMb} MB, or called process.abort (SIGABRT)`,
      isProven,
    )
  }
  const what =
    signal === 'SIGABRT' || code === 134 ? 'SIGABRT: out of memory, or process.abort' : (signal ?? `exit code ${code}`)
  return new ProcessEndedError('process_died', `the process of the handler ended (${what})`, isProven)
}

/** Counts time in checks: while this whole process is stopped, nothing counts as blocked. */
export function watchTicks(onBlocked: () => void, maxBlockedMs: number) {
  let stalledChecks = 0
  const timer = setInterval(() => {
    stalledChecks += 1
    if (stalledChecks * CHECK_INTERVAL_MS <= maxBlockedMs) return
    clearInterval(timer)
    onBlocked()
  }, CHECK_INTERVAL_MS)
  return { tick: () => void (stalledChecks = 0), stop: () => clearInterval(timer) }
}

/** Memory for Node itself, in addition to what the handler uses. */
const OWN_MB = 128

export function watchMemory(child: ChildProcess, limitMb: number, onExceeded: (bytes: number) => void): NodeJS.Timeout {
  return setInterval(() => {
    readResidentBytes(child.pid).then(
      (bytes) => bytes > (limitMb + OWN_MB) * MB && onExceeded(bytes),
      () => {},
    )
  }, CHECK_INTERVAL_MS)
}

/** @see https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html */
async function readResidentBytes(pid: number | undefined): Promise<number> {
  const text = await readFile(`/proc/${pid}/statm`, 'utf8')
  return Number(text.split(' ')[1]) * PAGE_BYTES
}
