/**
 * Processes for handlers with `isolation: 'process'`: one runs one attempt at a time, and can be killed at any moment without
 * harm to others.
 *
 * - They are kept warm, as many as there are processors for each memory limit in use, so that a run starts in milliseconds; after a
 *   minute without work one of them is left. The first run makes the first: a worker that never has such a run pays nothing.
 * - After `maxRuns` runs a process is replaced, before what handlers leave behind adds up.
 * - The memory limit is V8's heap limit, which ends the process by itself, and its resident memory, which is looked at
 *   twice a second where the system shows it (Linux), because buffers lie outside of that heap.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { FastifyBaseLogger } from 'fastify'
import { ProcessEndedError, type IsolatedEnd, type IsolatedRun, type IsolatedRuns } from '../../tasks/isolated-run.js'
import type { Recorder } from '../../tasks/recorder.js'
import type { FromChild, ToChild } from './messages.js'
import { unpackError } from './thrown-error.js'

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url))
const READY_DEADLINE_MS = 30_000
const LOOK_INTERVAL_MS = 500
const PAGE_BYTES = 4_096
const MB = 1024 * 1024

export interface PoolOptions {
  recorder: Pick<Recorder, 'progress' | 'log' | 'flush' | 'announce'>
  log: FastifyBaseLogger
  /** Of the worker: the processes are configured by it. */
  env: NodeJS.ProcessEnv
  /** After so many runs a process is replaced. Default 100. */
  maxRuns?: number
  /** How long processes beyond the first are kept without work, in milliseconds. Default 60,000. */
  idleMs?: number
}

export interface Pool extends IsolatedRuns {
  /** Kills them all. */
  stop(): void
}

interface ProcessEnd {
  code: number | null
  signal: NodeJS.Signals | null
}

interface HandlerProcess {
  readonly child: ChildProcess
  readonly memoryLimitMb: number | undefined
  readonly ready: Promise<void>
  readonly ended: Promise<ProcessEnd>
  runs: number
  idleTimer: NodeJS.Timeout | undefined
}

export function openPool({ recorder, log, env, maxRuns = 100, idleMs = 60_000 }: PoolOptions): Pool {
  const all = new Set<HandlerProcess>()
  const idle = new Map<number | undefined, HandlerProcess[]>()
  let isStopped = false

  function launch(memoryLimitMb: number | undefined): HandlerProcess {
    const child = fork(CHILD, [], {
      env,
      // A small young generation: V8 frees what streams through, buffers included, when that is full.
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
      void ended.then((end) => reject(explainEnd(end, memoryLimitMb)))
    })
    const deadline = setTimeout(() => child.kill('SIGKILL'), READY_DEADLINE_MS).unref()
    ready.catch(() => {}).finally(() => clearTimeout(deadline))
    const made: HandlerProcess = { child, memoryLimitMb, ready, ended, runs: 0, idleTimer: undefined }
    all.add(made)
    child.on('message', ({ type }: FromChild) => {
      if (type === 'spoilt') made.runs = Infinity
    })
    void ended.then(() => all.delete(made))
    return made
  }

  /** Those that wait for work, the last one back last. */
  function waitingFor(memoryLimitMb: number | undefined): HandlerProcess[] {
    const waiting = (idle.get(memoryLimitMb) ?? []).filter((made) => all.has(made) && made.runs < maxRuns)
    idle.set(memoryLimitMb, waiting)
    return waiting
  }

  function take(memoryLimitMb: number | undefined): HandlerProcess {
    const made = waitingFor(memoryLimitMb).pop() ?? launch(memoryLimitMb)
    clearTimeout(made.idleTimer)
    return made
  }

  function giveBack(made: HandlerProcess): void {
    const { child, memoryLimitMb } = made
    const waiting = waitingFor(memoryLimitMb)
    const isFit = made.runs < maxRuns && child.connected && child.exitCode === null && child.signalCode === null
    const hasRoom = !isStopped && waiting.length < availableParallelism()
    if (!isFit || !hasRoom) retire(made)
    if (hasRoom && isFit) keep(made, waiting)
    else if (hasRoom && waiting.length === 0) keep(launch(memoryLimitMb), waiting)
  }

  function keep(made: HandlerProcess, waiting: HandlerProcess[]): void {
    waiting.push(made)
    made.idleTimer = setTimeout(() => {
      if (waitingFor(made.memoryLimitMb).length > 1) retire(made)
    }, idleMs).unref()
  }

  /** Nobody gets it any more, though its end takes a moment. */
  function retire(made: HandlerProcess): void {
    all.delete(made)
    made.child.kill('SIGKILL')
  }

  async function runIn(made: HandlerProcess, run: IsolatedRun, kill: { reason: ProcessEndedError | undefined }): Promise<IsolatedEnd> {
    const { child } = made
    const { claimed, payload, signal, alive, memoryLimitMb } = run
    await made.ready
    made.runs += 1
    const say = (message: ToChild) => void (child.connected && child.send(message, () => {}))
    const onAbort = () => say({ type: 'abort', reason: signal.reason as never })
    const memory = memoryLimitMb === undefined ? undefined : watchMemory(child, memoryLimitMb, (bytes) => {
      kill.reason = new ProcessEndedError('memory_limit', `the run used ${Math.round(bytes / MB)} MB; its limit is ${memoryLimitMb} MB`)
      child.kill('SIGKILL')
    })
    let onMessage: (message: FromChild) => void = () => {}
    try {
      return await new Promise<IsolatedEnd>((resolve, reject) => {
        onMessage = (message) => {
          switch (message.type) {
            case 'alive':
              return alive()
            case 'progress':
              return recorder.progress(message.report)
            case 'log':
              return recorder.log(message.report)
            case 'flush':
              return void recorder.flush(claimed.id).then(() => say({ type: 'flushed' }), reject)
            case 'announce':
              return recorder.announce(message.event)
            case 'returned':
              return resolve({ kind: 'returned', result: message.result })
            case 'committed':
              return resolve({ kind: 'committed' })
            case 'threw':
              return reject(unpackError(message.error))
          }
        }
        child.on('message', onMessage)
        void made.ended.then((end) => reject(kill.reason ?? explainEnd(end, memoryLimitMb)))
        signal.addEventListener('abort', onAbort, { once: true })
        say({ type: 'run', claimed, payload })
        if (signal.aborted) onAbort()
      })
    } finally {
      child.off('message', onMessage)
      signal.removeEventListener('abort', onAbort)
      clearInterval(memory)
    }
  }

  return {
    start(run) {
      const made = take(run.memoryLimitMb)
      const kill: { reason: ProcessEndedError | undefined } = { reason: undefined }
      const ended = runIn(made, run, kill).finally(() => giveBack(made))
      ended.catch(() => {})
      return {
        ended,
        kill() {
          if (!all.has(made)) return
          log.debug({ taskId: run.claimed.id, pid: made.child.pid }, 'the process of a handler is killed')
          made.child.kill('SIGKILL')
        },
      }
    },
    stop() {
      isStopped = true
      for (const { child } of all) child.kill('SIGKILL')
    },
  }
}

/** V8 ends a process whose heap is full with SIGABRT (134 where a shell stands between). */
function explainEnd({ code, signal }: ProcessEnd, memoryLimitMb: number | undefined): ProcessEndedError {
  if (memoryLimitMb !== undefined && (signal === 'SIGABRT' || code === 134)) {
    return new ProcessEndedError('memory_limit', `the run used more memory than its limit of ${memoryLimitMb} MB`)
  }
  return new ProcessEndedError('process_died', `the process of the handler ended (${signal ?? `exit code ${code}`})`)
}

/** Room for what a Node process needs itself, beside what the handler uses. */
const OWN_MB = 128

function watchMemory(child: ChildProcess, limitMb: number, onExceeded: (bytes: number) => void): NodeJS.Timeout {
  return setInterval(() => {
    readResidentBytes(child.pid).then((bytes) => bytes > (limitMb + OWN_MB) * MB && onExceeded(bytes), () => {})
  }, LOOK_INTERVAL_MS)
}

/** @see https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html */
async function readResidentBytes(pid: number | undefined): Promise<number> {
  const text = await readFile(`/proc/${pid}/statm`, 'utf8')
  return Number(text.split(' ')[1]) * PAGE_BYTES
}
