/** How the process of a handler is watched from its worker, and what its end means. */
import type { ChildProcess } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { ProcessEndedError } from '../../tasks/attempt/isolated-run.js'

const LOOK_INTERVAL_MS = 500
const PAGE_BYTES = 4_096
export const MB = 1024 * 1024

export interface ProcessEnd {
  code: number | null
  signal: NodeJS.Signals | null
}

/** V8 ends a process whose heap is full with SIGABRT (134 where a shell stands between). */
export function explainEnd({ code, signal }: ProcessEnd, memoryLimitMb: number | undefined, isProven: boolean): ProcessEndedError {
  if (memoryLimitMb !== undefined && (signal === 'SIGABRT' || code === 134)) {
    return new ProcessEndedError('memory_limit', `the run used more memory than its limit of ${memoryLimitMb} MB`, isProven)
  }
  const what = signal === 'SIGABRT' || code === 134 ? 'SIGABRT: out of memory, or process.abort' : (signal ?? `exit code ${code}`)
  return new ProcessEndedError('process_died', `the process of the handler ended (${what})`, isProven)
}

/** Time is counted in looks: while this whole process is stopped, nothing is blocked. */
export function watchTicks(onBlocked: () => void, maxBlockedMs: number) {
  let stillLooks = 0
  const timer = setInterval(() => {
    stillLooks += 1
    if (stillLooks * LOOK_INTERVAL_MS <= maxBlockedMs) return
    clearInterval(timer)
    onBlocked()
  }, LOOK_INTERVAL_MS)
  return { tick: () => void (stillLooks = 0), stop: () => clearInterval(timer) }
}

/** Room for what a Node process needs itself, beside what the handler uses. */
const OWN_MB = 128

export function watchMemory(child: ChildProcess, limitMb: number, onExceeded: (bytes: number) => void): NodeJS.Timeout {
  return setInterval(() => {
    readResidentBytes(child.pid).then((bytes) => bytes > (limitMb + OWN_MB) * MB && onExceeded(bytes), () => {})
  }, LOOK_INTERVAL_MS)
}

/** @see https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html */
async function readResidentBytes(pid: number | undefined): Promise<number> {
  const text = await readFile(`/proc/${pid}/statm`, 'utf8')
  return Number(text.split(' ')[1]) * PAGE_BYTES
}
