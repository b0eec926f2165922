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
import { availableParallelism } from 'node:os'
import type { Log } from '../../log.js'
import type { IsolatedEnd, IsolatedRun, IsolatedRuns } from '../../tasks/attempt/isolated-run.js'
import { Limit } from '../../timing/limit.js'
import { startHandlerProcess, type HandlerProcess } from './handler-process.js'
import { ProcessRun, type ProcessRunOptions } from './process-run.js'

const MAX_LAUNCHES = 3

export interface PoolOptions {
  recorder: ProcessRunOptions['recorder']
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

export class Pool implements IsolatedRuns {
  readonly #options: Required<PoolOptions>
  readonly #limit: Limit
  readonly #all = new Set<HandlerProcess>()
  /** By memory limit; the most recently used last. */
  readonly #idle = new Map<number | undefined, HandlerProcess[]>()
  /** Each resolves when a process has started or become free. */
  readonly #waiting: (() => void)[] = []
  #launching = 0
  #isStopped = false

  constructor(options: PoolOptions) {
    this.#options = {
      maxProcesses: availableParallelism(),
      maxBlockedMs: 15_000,
      maxRuns: 100,
      idleMs: 60_000,
      ...options,
    }
    this.#limit = new Limit(this.#options.maxProcesses)
  }

  start(run: IsolatedRun): { ended: Promise<IsolatedEnd>; kill(): void } {
    const killed = new AbortController()
    const ended = this.#limit.run(() => this.#run(run, killed.signal), AbortSignal.any([run.signal, killed.signal]))
    ended.catch(() => {})
    return { ended, kill: () => killed.abort() }
  }

  /** Kills all processes. */
  stop(): void {
    this.#isStopped = true
    for (const { child } of this.#all) child.kill('SIGKILL')
  }

  /** @param killed kills the process at once */
  async #run(run: IsolatedRun, killed: AbortSignal): Promise<IsolatedEnd> {
    let taken: HandlerProcess | undefined
    const kill = () => taken?.child.kill('SIGKILL')
    try {
      taken = await this.#take(run.memoryLimitMb, run.isFresh)
      killed.throwIfAborted()
      killed.addEventListener('abort', kill, { once: true })
      return await new ProcessRun(taken, run, this.#options).toEnd()
    } finally {
      killed.removeEventListener('abort', kill)
      if (taken !== undefined) this.#giveBack(taken, run.isFresh)
    }
  }

  /** A process that is ready. A process that dies while starting is not the run's fault: another is started. */
  async #take(memoryLimitMb: number | undefined, isFresh: boolean): Promise<HandlerProcess> {
    for (let failures = 0; ;) {
      const taken = (isFresh ? undefined : this.#idleWith(memoryLimitMb).pop()) ?? this.#launchIfFew(memoryLimitMb)
      if (taken === undefined) {
        await new Promise<void>((resolve) => this.#waiting.push(resolve))
        continue
      }
      clearTimeout(taken.idleTimer)
      try {
        await taken.ready
        return taken
      } catch (error) {
        failures += 1
        this.#retire(taken)
        if (failures === MAX_LAUNCHES || this.#isStopped) throw error
        this.#options.log.warn({ err: error }, 'the process of a handler did not start; trying again')
      }
    }
  }

  #launchIfFew(memoryLimitMb: number | undefined): HandlerProcess | undefined {
    if (this.#launching >= availableParallelism()) return undefined
    this.#makeRoom()
    return this.#launch(memoryLimitMb)
  }

  /** Idle processes count too: ends one of them if there is no room. */
  #makeRoom(): void {
    if (this.#all.size < this.#options.maxProcesses) return
    for (const idle of this.#idle.values()) {
      const oldest = idle.shift()
      if (oldest !== undefined) return this.#retire(oldest)
    }
  }

  #launch(memoryLimitMb: number | undefined): HandlerProcess {
    const launched = startHandlerProcess(this.#options.env, memoryLimitMb)
    this.#all.add(launched)
    void launched.ended.then(() => this.#all.delete(launched))
    this.#launching += 1
    void launched.ready
      .catch(() => {})
      .finally(() => {
        this.#launching -= 1
        this.#wake()
      })
    return launched
  }

  #giveBack(process: HandlerProcess, isFresh: boolean): void {
    if (isFresh) {
      this.#retire(process)
      return this.#wake()
    }
    const { child, memoryLimitMb } = process
    const { maxRuns, maxProcesses } = this.#options
    const idle = this.#idleWith(memoryLimitMb)
    const isFit = process.runs < maxRuns && child.connected && child.exitCode === null && child.signalCode === null
    const hasRoom = !this.#isStopped && idle.length < Math.min(availableParallelism(), maxProcesses)
    if (!isFit || !hasRoom) this.#retire(process)
    if (hasRoom && isFit) this.#keep(process, idle)
    else if (hasRoom && idle.length === 0 && this.#launching === 0) this.#keep(this.#launch(memoryLimitMb), idle)
    this.#wake()
  }

  /** Wakes the waiting runs. */
  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  #keep(process: HandlerProcess, idle: HandlerProcess[]): void {
    idle.push(process)
    process.idleTimer = setTimeout(() => {
      if (this.#idleWith(process.memoryLimitMb).length > 1) this.#retire(process)
    }, this.#options.idleMs).unref()
  }

  /** Idle processes with this memory limit, the most recently used last. */
  #idleWith(memoryLimitMb: number | undefined): HandlerProcess[] {
    const idle = (this.#idle.get(memoryLimitMb) ?? []).filter((process) => {
      if (process.runs >= this.#options.maxRuns) this.#retire(process)
      return this.#all.has(process)
    })
    this.#idle.set(memoryLimitMb, idle)
    return idle
  }

  /** The process gets no more runs, though it takes a moment to end. */
  #retire(process: HandlerProcess): void {
    this.#all.delete(process)
    clearTimeout(process.idleTimer)
    process.child.kill('SIGKILL')
  }
}
