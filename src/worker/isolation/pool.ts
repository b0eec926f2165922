/**
 * Processes for handlers with `isolation: 'process'`. Each runs one attempt at a time and can be killed at any moment
 * without harm to others.
 *
 * - There are at most `maxProcesses`. A run without a free process waits, and its time limits do not start meanwhile.
 * - When a process ends during a run, the run is the cause if the process had run nothing else before. Otherwise the
 *   cause is unknown, and the run is retried in a new process (`isFresh`), which runs nothing else afterwards either.
 * - A handler that may not compute without a pause is killed when its event loop has stood still for the length of a
 *   lease.
 * - At most one process per processor starts at a time. A run takes a process that becomes free meanwhile.
 * - Idle processes are kept warm, one per processor for each memory limit in use, so that a run starts in milliseconds.
 *   After a minute without work only one is kept. The first run creates the first process: a worker without such runs
 *   pays nothing.
 * - After `maxRuns` runs a process is replaced, before the leftovers of handlers add up, and at once after an uncaught
 *   error in it.
 * - The memory limit is V8's heap limit, which ends the process by itself, and a limit on resident memory, which is
 *   checked twice a second where the system reports it (Linux), because buffers are outside the heap.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { getHeapStatistics } from 'node:v8'
import type { Log } from '../../log.js'
import {
  ProcessEndedError,
  type IsolatedEnd,
  type IsolatedRun,
  type IsolatedRuns,
} from '../../tasks/attempt/isolated-run.js'
import type { Recorder } from '../../tasks/attempt/recorder.js'
import { settlesWithin } from '../../timing/deadline.js'
import { Limit } from '../../timing/limit.js'
import type { FromChild, ToChild } from './messages.js'
import { explainEnd, MB, watchMemory, watchTicks, type ProcessEnd } from './process-watch.js'
import { unpackError } from './thrown-error.js'

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url))
const READY_DEADLINE_MS = 60_000
const MAX_LAUNCHES = 3
/** The memory limit of a suspect whose type has none: the heap limit of its worker. */
const HEAP_LIMIT_MB = Math.round(getHeapStatistics().heap_size_limit / MB)

export interface PoolOptions {
  recorder: Pick<Recorder, 'progress' | 'log' | 'flush' | 'announce'>
  log: Log
  /** The worker's environment, which configures the processes. */
  env: NodeJS.ProcessEnv
  /** Most processes at the same time. Default: the number of processors. */
  maxProcesses?: number
  /**
   * How long the event loop of a handler that may not compute without a pause may stand still, in milliseconds. Default
   * 15,000.
   */
  maxBlockedMs?: number
  /** After this many runs a process is replaced. Default 100. */
  maxRuns?: number
  /** How long idle processes beyond the first are kept, in milliseconds. Default 60,000. */
  idleMs?: number
}

export interface Pool extends IsolatedRuns {
  /** Kills all processes. */
  stop(): void
}

interface HandlerProcess {
  readonly child: ChildProcess
  readonly memoryLimitMb: number | undefined
  readonly ready: Promise<void>
  readonly ended: Promise<ProcessEnd>
  runs: number
  idleTimer: NodeJS.Timeout | undefined
}

export function openPool(options: PoolOptions): Pool {
  const {
    recorder,
    log,
    env,
    maxProcesses = availableParallelism(),
    maxBlockedMs = 15_000,
    maxRuns = 100,
    idleMs = 60_000,
  } = options
  const all = new Set<HandlerProcess>()
  const idle = new Map<number | undefined, HandlerProcess[]>()
  const limit = new Limit(maxProcesses)
  const changes: (() => void)[] = []
  let launching = 0
  let isStopped = false

  function launch(memoryLimitMb: number | undefined): HandlerProcess {
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
    launching += 1
    void settlesWithin(ready, READY_DEADLINE_MS).then((isSettled) => isSettled || child.kill('SIGKILL'))
    void ready
      .catch(() => {})
      .finally(() => {
        launching -= 1
        changed()
      })
    const made: HandlerProcess = { child, memoryLimitMb, ready, ended, runs: 0, idleTimer: undefined }
    all.add(made)
    child.on('message', ({ type }: FromChild) => {
      if (type === 'spoilt') made.runs = Infinity
    })
    void ended.then(() => all.delete(made))
    return made
  }

  /** Idle processes with this memory limit, the most recently used last. */
  function waitingFor(memoryLimitMb: number | undefined): HandlerProcess[] {
    const waiting = (idle.get(memoryLimitMb) ?? []).filter((made) => {
      if (made.runs >= maxRuns) retire(made)
      return all.has(made)
    })
    idle.set(memoryLimitMb, waiting)
    return waiting
  }

  /** A process that is ready. A process that dies while starting is not the run's fault: another is started. */
  async function take(memoryLimitMb: number | undefined, isFresh: boolean): Promise<HandlerProcess> {
    for (let failures = 0; ;) {
      const made = (isFresh ? undefined : waitingFor(memoryLimitMb).pop()) ?? launchIfFew(memoryLimitMb)
      if (made === undefined) {
        await new Promise<void>((resolve) => changes.push(resolve))
        continue
      }
      clearTimeout(made.idleTimer)
      try {
        await made.ready
        return made
      } catch (error) {
        failures += 1
        retire(made)
        if (failures === MAX_LAUNCHES || isStopped) throw error
        log.warn({ err: error }, 'the process of a handler did not start; trying again')
      }
    }
  }

  function launchIfFew(memoryLimitMb: number | undefined): HandlerProcess | undefined {
    if (launching >= availableParallelism()) return undefined
    makeRoom()
    return launch(memoryLimitMb)
  }

  /** Wakes the waiting runs: a process has started or become free. */
  function changed(): void {
    for (const resolve of changes.splice(0)) resolve()
  }

  /** Idle processes count too: ends one of them if there is no room. */
  function makeRoom(): void {
    if (all.size < maxProcesses) return
    for (const waiting of idle.values()) {
      const oldest = waiting.shift()
      if (oldest !== undefined) return retire(oldest)
    }
  }

  function giveBack(made: HandlerProcess, isFresh: boolean): void {
    if (isFresh) {
      retire(made)
      return changed()
    }
    const { child, memoryLimitMb } = made
    const waiting = waitingFor(memoryLimitMb)
    const isFit = made.runs < maxRuns && child.connected && child.exitCode === null && child.signalCode === null
    const hasRoom = !isStopped && waiting.length < Math.min(availableParallelism(), maxProcesses)
    if (!isFit || !hasRoom) retire(made)
    if (hasRoom && isFit) keep(made, waiting)
    else if (hasRoom && waiting.length === 0 && launching === 0) keep(launch(memoryLimitMb), waiting)
    changed()
  }

  function keep(made: HandlerProcess, waiting: HandlerProcess[]): void {
    waiting.push(made)
    made.idleTimer = setTimeout(() => {
      if (waitingFor(made.memoryLimitMb).length > 1) retire(made)
    }, idleMs).unref()
  }

  /** The process is no longer handed out, though its end takes a moment. */
  function retire(made: HandlerProcess): void {
    all.delete(made)
    clearTimeout(made.idleTimer)
    made.child.kill('SIGKILL')
  }

  async function runIn(
    made: HandlerProcess,
    run: IsolatedRun,
    kill: { reason: ProcessEndedError | undefined },
  ): Promise<IsolatedEnd> {
    const { child } = made
    const { claimed, signal, alive, mayBlock } = run
    const memoryLimitMb = run.memoryLimitMb ?? (run.isSuspect ? HEAP_LIMIT_MB : undefined)
    const explain = (end: ProcessEnd) => explainEnd(end, run.memoryLimitMb, isFirst)
    made.runs += 1
    const isFirst = made.runs === 1
    const say = (message: ToChild) => void (child.connected && child.send(message, () => {}))
    const onAbort = () => say({ type: 'abort', reason: signal.reason as never })
    const memory =
      memoryLimitMb === undefined
        ? undefined
        : watchMemory(child, memoryLimitMb, (bytes) => {
            kill.reason = new ProcessEndedError(
              'memory_limit',
              `the run used ${Math.round(bytes / MB)} MB; its limit is ${memoryLimitMb} MB`,
              isFirst,
            )
            child.kill('SIGKILL')
          })
    const looks = mayBlock
      ? undefined
      : watchTicks(() => {
          kill.reason = new ProcessEndedError(
            'process_died',
            `the handler blocked its event loop for ${maxBlockedMs / 1_000} s`,
            isFirst,
          )
          child.kill('SIGKILL')
        }, maxBlockedMs)
    let onMessage: (message: FromChild) => void = () => {}
    try {
      return await new Promise<IsolatedEnd>((resolve, reject) => {
        onMessage = (message) => {
          switch (message.type) {
            case 'alive':
              return alive()
            case 'tick':
              return looks?.tick()
            case 'violation':
              return resolve({ kind: 'violation', error: message.error })
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
        void made.ended.then((end) => reject(kill.reason ?? explain(end)))
        signal.addEventListener('abort', onAbort, { once: true })
        run.begin()
        say({ type: 'run', claimed, ticks: !mayBlock })
        if (signal.aborted) onAbort()
      })
    } finally {
      child.off('message', onMessage)
      signal.removeEventListener('abort', onAbort)
      clearInterval(memory)
      looks?.stop()
    }
  }

  return {
    start(run) {
      const kill: { reason: ProcessEndedError | undefined } = { reason: undefined }
      const killed = new AbortController()
      const start = async () => {
        let made: HandlerProcess | undefined
        const end = () => made?.child.kill('SIGKILL')
        try {
          made = await take(run.memoryLimitMb, run.isFresh)
          killed.signal.throwIfAborted()
          killed.signal.addEventListener('abort', end, { once: true })
          return await runIn(made, run, kill)
        } finally {
          killed.signal.removeEventListener('abort', end)
          if (made !== undefined) giveBack(made, run.isFresh)
        }
      }
      const ended = limit.run(start, AbortSignal.any([run.signal, killed.signal]))
      ended.catch(() => {})
      return { ended, kill: () => killed.abort() }
    },
    stop() {
      isStopped = true
      for (const { child } of all) child.kill('SIGKILL')
    },
  }
}
