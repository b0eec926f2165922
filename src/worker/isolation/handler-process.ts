/** Starts a process for handlers, which runs `child.ts`. */
import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { settlesWithin } from '../../timing/deadline.js'
import type { FromChild } from './messages.js'
import { explainEnd, type ProcessEnd } from './process-watch.js'

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url))
const READY_DEADLINE_MS = 60_000

export interface HandlerProcess {
  readonly child: ChildProcess
  /** The limit of the heap, in MB. */
  readonly memoryLimitMb: number | undefined
  /** Rejects when the process ends first. */
  readonly ready: Promise<void>
  readonly ended: Promise<ProcessEnd>
  /** How many runs it has begun. Infinity: it must not be used again. */
  runs: number
  idleTimer: NodeJS.Timeout | undefined
}

/** The process is killed if it is not ready after a minute. @param env configures it */
export function startHandlerProcess(env: NodeJS.ProcessEnv, memoryLimitMb: number | undefined): HandlerProcess {
  const child = fork(CHILD, [], {
    env,
    // A small young generation: V8 frees streamed data, buffers included, when it is full.
    execArgv: memoryLimitMb === undefined ? [] : [`--max-old-space-size=${memoryLimitMb}`, '--max-semi-space-size=1'],
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const ended = new Promise<ProcessEnd>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
    child.once('error', () => resolve({ code: null, signal: null }))
  })
  const ready = new Promise<void>((resolve, reject) => {
    // The first message is `ready`.
    child.once('message', () => resolve())
    void ended.then((end) => reject(explainEnd(end, memoryLimitMb, false)))
  })
  void settlesWithin(ready, READY_DEADLINE_MS).then((isSettled) => isSettled || child.kill('SIGKILL'))
  const started: HandlerProcess = { child, memoryLimitMb, ready, ended, runs: 0, idleTimer: undefined }
  child.on('message', (message: FromChild | null) => {
    if (message?.type === 'spoilt') started.runs = Infinity
  })
  return started
}
