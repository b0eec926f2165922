/** One run in a process for handlers, which is killed when the run exceeds its limits. */
import { getHeapStatistics } from 'node:v8'
import { ProcessEndedError, type IsolatedEnd, type IsolatedRun } from '../../tasks/attempt/isolated-run.js'
import type { Recorder } from '../../tasks/attempt/recorder.js'
import type { HandlerProcess } from './handler-process.js'
import type { FromChild, ToChild } from './messages.js'
import { explainEnd, MB, watchMemory, watchTicks } from './process-watch.js'
import { unpackError } from './thrown-error.js'

/** The memory limit of a suspect whose type has none: the heap limit of its worker. */
const HEAP_LIMIT_MB = Math.round(getHeapStatistics().heap_size_limit / MB)

export interface ProcessRunOptions {
  /** Records what the handler reports. */
  recorder: Pick<Recorder, 'progress' | 'log' | 'flush' | 'announce'>
  /** How long the event loop of a handler that may not compute without a pause may stand still, in milliseconds. */
  maxBlockedMs: number
}

export class ProcessRun {
  readonly #process: HandlerProcess
  readonly #run: IsolatedRun
  readonly #options: ProcessRunOptions
  /** Nothing else has run in the process: if it ends, this run is the cause. */
  readonly #isFirst: boolean
  #resolve: (end: IsolatedEnd) => void = () => {}
  #reject: (error: unknown) => void = () => {}
  #ticks: ReturnType<typeof watchTicks> | undefined
  #killReason: ProcessEndedError | undefined

  constructor(process: HandlerProcess, run: IsolatedRun, options: ProcessRunOptions) {
    this.#process = process
    this.#run = run
    this.#options = options
    this.#isFirst = process.runs === 0
  }

  /** Runs the handler; call it once. Rejects with its error, or with `ProcessEndedError`. */
  async toEnd(): Promise<IsolatedEnd> {
    const { child, ended } = this.#process
    const { claimed, signal, mayBlock, memoryLimitMb } = this.#run
    this.#process.runs += 1
    const onMessage = (message: FromChild) => this.#receive(message)
    const onAbort = () => this.#send({ type: 'abort', reason: signal.reason as never })
    child.on('message', onMessage)
    signal.addEventListener('abort', onAbort, { once: true })
    const memory = this.#watchMemory()
    this.#ticks = mayBlock ? undefined : this.#watchTicks()
    try {
      return await new Promise<IsolatedEnd>((resolve, reject) => {
        this.#resolve = resolve
        this.#reject = reject
        void ended.then((end) => reject(this.#killReason ?? explainEnd(end, memoryLimitMb, this.#isFirst)))
        this.#run.begin()
        this.#send({ type: 'run', claimed, ticks: !mayBlock })
        if (signal.aborted) onAbort()
      })
    } finally {
      child.off('message', onMessage)
      signal.removeEventListener('abort', onAbort)
      clearInterval(memory)
      this.#ticks?.stop()
    }
  }

  #receive(message: FromChild): void {
    const { recorder } = this.#options
    switch (message.type) {
      case 'alive':
        return this.#run.alive()
      case 'tick':
        return this.#ticks?.tick()
      case 'violation':
        return this.#resolve({ kind: 'violation', error: message.error })
      case 'progress':
        return recorder.progress(message.report)
      case 'log':
        return recorder.log(message.report)
      case 'flush':
        return void recorder.flush(this.#run.claimed.id).then(() => this.#send({ type: 'flushed' }), this.#reject)
      case 'announce':
        return recorder.announce(message.event)
      case 'returned':
        return this.#resolve({ kind: 'returned', result: message.result })
      case 'spoilt':
        return message.endsWorkers === undefined ? undefined : this.#run.endsWorkers(message.endsWorkers)
      case 'committed':
        return this.#resolve({ kind: 'committed' })
      case 'threw':
        return this.#reject(unpackError(message.error))
    }
  }

  #send(message: ToChild): void {
    const { child } = this.#process
    if (child.connected) child.send(message, () => {})
  }

  #watchMemory(): NodeJS.Timeout | undefined {
    const limitMb = this.#run.memoryLimitMb ?? (this.#run.isSuspect ? HEAP_LIMIT_MB : undefined)
    if (limitMb === undefined) return undefined
    return watchMemory(this.#process.child, limitMb, (bytes) =>
      this.#kill('memory_limit', `the run used ${Math.round(bytes / MB)} MB; its limit is ${limitMb} MB`),
    )
  }

  #watchTicks() {
    const { maxBlockedMs } = this.#options
    return watchTicks(
      () => this.#kill('process_died', `the handler blocked its event loop for ${maxBlockedMs / 1_000} s`),
      maxBlockedMs,
    )
  }

  #kill(code: ProcessEndedError['code'], reason: string): void {
    this.#killReason = new ProcessEndedError(code, reason, this.#isFirst)
    this.#process.child.kill('SIGKILL')
  }
}
