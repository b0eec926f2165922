/**
 * One task that is watched in this process: its folded state, and the streams that follow it.
 *
 * Every input ends in the same fold, so their order does not matter:
 * - `load`: the subscription is acknowledged, then the task is read. Events that arrive meanwhile are kept back and
 *   applied to it. This is done once; later watchers are served from memory.
 * - `accept`: an event. The next version is applied, one at or below ours ignored; one further on is kept back, and the
 *   versions in between are read.
 * - `moveTo`: a position from a hint or from the position check. The versions in between are read, page by page.
 *
 * A failing read leaves the room unchanged, and is logged; the next position check tries again.
 */
import type { BaseLogger } from 'pino'
import type { Principal } from '../access/principal.js'
import { isFinal } from '../protocol/status.js'
import type { LogMessage, ProgressMessage, SnapshotMessage, TransitionMessage } from '../protocol/stream.js'
import type { Task, TaskId } from '../protocol/task.js'
import type { WaitingFor } from '../protocol/waiting.js'
import type { Closer } from './closer.js'
import { createFanOut } from './fan-out.js'
import { FoldedTask, progressOf } from './folded-task.js'
import { toFrame, type EventFrame, type Frame, type TransitionFrame, type TransitionRange } from './frame.js'
import type { HeldFrames } from './held-frames.js'
import { createLogTail, type LogTail } from './log-tail.js'
import { RoomReads } from './room-reads.js'
import { RoomStream, type Sink, type StreamSource } from './task-stream.js'
import { WaitingHint } from './waiting-hint.js'

export type Log = Pick<BaseLogger, 'warn'>

/** A task as it is read for watching. */
export type WatchedTask = Task & {
  /** Payload and result are large, and were left out. */
  isLarge?: boolean
}

export interface RoomDeps {
  /** Resolves when events of the task are being received, or when waiting for that is pointless. Never rejects. */
  subscribe(id: TaskId): Promise<void>
  readTask(principal: Principal, id: TaskId): Promise<WatchedTask | undefined>
  /** The task with its payload and result, whatever their size. */
  readWholeTask(principal: Principal, id: TaskId): Promise<Task | undefined>
  readTransitionMessages(principal: Principal, id: TaskId, since: number, limit: number): Promise<TransitionMessage[]>
  /** The latest log lines of the task, oldest first. */
  readLatestLogs(principal: Principal, id: TaskId, limit: number): Promise<LogMessage[]>
  frames: HeldFrames
  closer: Closer
  log: Log
  maxStuckMs: number
}

/** Where a stream starts, and what it receives. */
export interface Position {
  /** The version that the client holds; undefined: none. */
  since?: number | undefined
  /** Whether it wants the handler's log lines. Default false. */
  logs?: boolean | undefined
}

export class Room implements StreamSource {
  readonly id: TaskId
  readonly logs: LogTail
  readonly waiting = new WaitingHint()
  readonly #principal: Principal
  readonly #deps: RoomDeps
  readonly #known: FoldedTask
  readonly #streams = new Set<RoomStream>()
  readonly #ended: (() => void)[] = []
  readonly #fanOut = createFanOut(
    this.#streams,
    (stream) => stream.advance(),
    () => this.#deps.closer.add(this.#ended.splice(0)),
  )
  readonly #reads: RoomReads
  #subscribed: Promise<void> | undefined
  #loading: Promise<boolean> | undefined
  #filling: Promise<boolean> | undefined
  #isRefilling = false
  #hasWishForLogs = false
  #target = 0
  #neededAtMs = performance.now()

  /** @param principal on whose behalf the task is read; all its watchers here belong to the same tenant */
  constructor(principal: Principal, id: TaskId, deps: RoomDeps) {
    this.id = id
    this.#principal = principal
    this.#deps = deps
    this.#known = new FoldedTask(() => this.#onChange(), deps.frames)
    this.#reads = new RoomReads(principal, id, {
      deps,
      onPage: (range) => {
        for (const frame of range) this.#known.apply(frame)
        this.#known.remember(range)
      },
      warn: (error, message, more) => this.#warn(error, message, more),
    })
    this.logs = createLogTail({ read: (limit) => this.#reads.readLatestLogs(limit), onChange: this.#fanOut.visitAll })
  }

  get tenant(): string {
    return this.#principal.tenant
  }

  /** The task as far as it is known here; undefined before the first read. */
  get task(): Task | undefined {
    return this.#known.task
  }

  get progress(): Frame<ProgressMessage> | undefined {
    return this.#known.progress
  }

  get streamCount(): number {
    return this.#streams.size
  }

  /** How long this room has been unused. */
  idleMs(): number {
    return this.#streams.size > 0 || this.#loading !== undefined ? 0 : performance.now() - this.#neededAtMs
  }

  /** Reads the task unless it is known. False: there is no such task. Rejects if the read fails. */
  load(): Promise<boolean> {
    this.#neededAtMs = performance.now()
    this.#loading ??= this.#loadOnce().finally(() => (this.#loading = undefined))
    return this.#loading
  }

  accept(frame: EventFrame): void {
    if (this.#known.apply(frame) === 'gap') this.moveTo(frame.message.version)
  }

  acceptLine(frame: Frame<LogMessage>): void {
    this.logs.accept(frame)
  }

  /** The task waits for this. */
  explain(waitingFor: WaitingFor): void {
    if (this.task && this.waiting.explain(this.task, waitingFor)) this.#fanOut.visitAll()
  }

  /** The task has reached at least this version. */
  moveTo(version: number): void {
    this.#target = Math.max(this.#target, version)
    void this.#refill()
  }

  /** Reads the progress of a running task again: a lost progress leaves no visible gap. Never rejects. */
  async refreshProgress(): Promise<void> {
    if (this.task?.status !== 'PROCESSING') return
    try {
      const task = await this.#deps.readTask(this.#principal, this.id)
      const message = task && progressOf(task)
      if (message && message.progress.at !== this.task.progress?.at) this.accept(toFrame(message))
    } catch (error) {
      this.#warn(error, 'could not read the progress of a watched task')
    }
  }

  attach({ since, logs = false }: Position, sink: Sink): RoomStream {
    const { maxStuckMs } = this.#deps
    const stream = new RoomStream(this, {
      since,
      logs,
      sink,
      maxStuckMs,
      onEnd: () => {
        this.#streams.delete(stream)
        this.#neededAtMs = performance.now()
      },
      onFailure: (error) => this.#warn(error, 'a stream failed and was closed'),
    })
    this.#streams.add(stream)
    this.#hasWishForLogs ||= logs
    if (logs) this.logs.want()
    stream.advance()
    return stream
  }

  /** Lets every stream retry what it waits for, and closes those whose client reads nothing. */
  tend(): void {
    if (this.#hasWishForLogs) this.logs.want()
    for (const stream of this.#streams) stream.closeIfStuck()
    this.#fanOut.visitAll()
  }

  closeStreams(code: number, reason: () => string): void {
    for (const stream of this.#streams) stream.close(code, reason())
  }

  /** The room was dropped: releases its memory. */
  forget(): void {
    this.#known.forget()
  }

  find(version: number): TransitionFrame | undefined {
    return this.#known.find(version)
  }

  snapshot(): Frame<SnapshotMessage> | undefined {
    return this.#known.snapshot()
  }

  /** Reads the payload and the result, which were too large to be kept. Concurrent callers share the read. */
  readSnapshot(): Promise<boolean> {
    this.#filling ??= this.#fill().finally(() => (this.#filling = undefined))
    return this.#filling
  }

  readAfter(version: number): Promise<TransitionRange> {
    return this.#reads.readAfter(version)
  }

  whenAllTold(close: () => void): void {
    if (this.#fanOut.isUnderWay()) this.#ended.push(close)
    else this.#deps.closer.add([close])
  }

  #onChange(): void {
    if (this.task) this.waiting.follow(this.task)
    if (this.task && isFinal(this.task.status)) this.logs.complete()
    this.#fanOut.visitAll()
  }

  async #loadOnce(): Promise<boolean> {
    if (this.task) return true
    this.#subscribed ??= this.#deps.subscribe(this.id)
    await this.#subscribed
    const read = await this.#deps.readTask(this.#principal, this.id)
    if (read === undefined) return false
    const { isLarge = false, ...task } = read
    this.#known.begin(task, isLarge)
    void this.#refill()
    return true
  }

  async #refill(): Promise<void> {
    if (this.#isRefilling) return
    this.#isRefilling = true
    try {
      while (this.task && this.task.version < this.#target) {
        const aim = this.#target
        const range = await this.readAfter(this.task.version)
        if (range.length === 0 && aim === this.#target) break
      }
    } catch {
      // Logged by the reader.
    } finally {
      this.#isRefilling = false
    }
  }

  /**
   * Returns whether to retry now. If PostgreSQL is ahead there is no need: the refill notifies the streams, or else the
   * next check does.
   */
  async #fill(): Promise<boolean> {
    const versionBefore = this.task?.version
    try {
      const whole = await this.#deps.readWholeTask(this.#principal, this.id)
      if (whole === undefined || this.task === undefined) return false
      if (whole.version > this.task.version) this.moveTo(whole.version)
      if (whole.version !== this.task.version) return this.task.version !== versionBefore
      this.#known.fill(whole)
      return true
    } catch (error) {
      this.#warn(error, 'could not read a watched task')
      throw error
    }
  }

  #warn(error: unknown, message: string, more: { version?: number } = {}): void {
    this.#deps.log.warn({ err: error, taskId: this.id, ...more }, message)
  }
}
