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
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { BaseLogger } from 'pino'
import type { Principal } from '../access/principal.js'
import { isFinal } from '../protocol/status.js'
import type { LogMessage, TransitionMessage } from '../protocol/stream.js'
import type { Task, TaskId } from '../protocol/task.js'
import type { Closer } from './closer.js'
import { createFanOut } from './fan-out.js'
import { createFoldedTask, progressOf } from './folded-task.js'
import { toFrame, toTransitionRange, type EventFrame, type Frame, type TransitionRange } from './frame.js'
import type { HeldFrames } from './held-frames.js'
import { createLogTail } from './log-tail.js'
import { createTaskStream, type RoomStream, type Sink } from './task-stream.js'

const PAGE_SIZE = 200

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

export interface Room {
  readonly tenant: string
  readonly id: TaskId
  /** The task as far as it is known here; undefined before the first read. */
  readonly task: Task | undefined
  readonly streamCount: number
  /** Reads the task unless it is known. False: there is no such task. Rejects if the read fails. */
  load(): Promise<boolean>
  accept(frame: EventFrame): void
  /** The task has reached at least this version. */
  moveTo(version: number): void
  /** Reads the progress of a running task again: a lost progress leaves no visible gap. Never rejects. */
  refreshProgress(): Promise<void>
  attach(position: Position, sink: Sink): RoomStream
  acceptLine(frame: Frame<LogMessage>): void
  /** Lets every stream retry what it waits for, and closes those whose client reads nothing. */
  tend(): void
  closeStreams(code: number, reason: () => string): void
  /** The room was dropped: releases its memory. */
  forget(): void
  /** How long this room has been unused. */
  idleMs(): number
}

/** @param principal on whose behalf the task is read; all its watchers here belong to the same tenant */
export function createRoom(principal: Principal, id: TaskId, deps: RoomDeps): Room {
  const streams = new Set<RoomStream>()
  const ended: (() => void)[] = []
  const fanOut = createFanOut(
    streams,
    (stream) => stream.advance(),
    () => deps.closer.add(ended.splice(0)),
  )
  const logs = createLogTail({ read: readLatestLogs, onChange: fanOut.visitAll })
  const known = createFoldedTask(onChange, deps.frames)
  const reads = new Map<number, Promise<TransitionRange>>()
  let subscribed: Promise<void> | undefined
  let loading: Promise<boolean> | undefined
  let filling: Promise<boolean> | undefined
  let isRefilling = false
  let hasWishForLogs = false
  let target = 0
  let neededAtMs = performance.now()

  function onChange(): void {
    if (known.task && isFinal(known.task.status)) logs.complete()
    fanOut.visitAll()
  }

  async function readLatestLogs(limit: number): Promise<LogMessage[]> {
    try {
      return await deps.readLatestLogs(principal, id, limit)
    } catch (error) {
      deps.log.warn({ err: error, taskId: id }, 'could not read the log lines of a watched task')
      throw error
    }
  }

  function load(): Promise<boolean> {
    neededAtMs = performance.now()
    loading ??= loadOnce().finally(() => (loading = undefined))
    return loading
  }

  async function loadOnce(): Promise<boolean> {
    if (known.task) return true
    subscribed ??= deps.subscribe(id)
    await subscribed
    const read = await deps.readTask(principal, id)
    if (read === undefined) return false
    const { isLarge = false, ...task } = read
    known.begin(task, isLarge)
    void refill()
    return true
  }

  function accept(frame: EventFrame): void {
    if (known.apply(frame) === 'gap') moveTo(frame.message.version)
  }

  function moveTo(version: number): void {
    target = Math.max(target, version)
    void refill()
  }

  async function refill(): Promise<void> {
    if (isRefilling) return
    isRefilling = true
    try {
      while (known.task && known.task.version < target) {
        const aim = target
        const run = await readAfter(known.task.version)
        if (run.length === 0 && aim === target) break
      }
    } catch {
      // Logged by the reader.
    } finally {
      isRefilling = false
    }
  }

  /** Reads the payload and the result, which were too large to be kept. Concurrent callers share the read. */
  function readSnapshot(): Promise<boolean> {
    filling ??= fill().finally(() => (filling = undefined))
    return filling
  }

  /**
   * Returns whether to retry now. If PostgreSQL is ahead there is no need: the refill notifies the streams, or else the
   * next check does.
   */
  async function fill(): Promise<boolean> {
    const versionBefore = known.task?.version
    try {
      const whole = await deps.readWholeTask(principal, id)
      if (whole === undefined || known.task === undefined) return false
      if (whole.version > known.task.version) moveTo(whole.version)
      if (whole.version !== known.task.version) return known.task.version !== versionBefore
      known.fill(whole)
      return true
    } catch (error) {
      deps.log.warn({ err: error, taskId: id }, 'could not read a watched task')
      throw error
    }
  }

  /**
   * Calls in the same turn share a read. A read that has started is not shared: it may miss changes that the caller
   * knows of.
   */
  function readAfter(version: number): Promise<TransitionRange> {
    const planned = reads.get(version)
    if (planned) return planned
    const read = nextTurn().then(() => {
      reads.delete(version)
      return readPage(version)
    })
    reads.set(version, read)
    return read
  }

  async function readPage(version: number): Promise<TransitionRange> {
    try {
      const run = toTransitionRange(await deps.readTransitionMessages(principal, id, version, PAGE_SIZE), version)
      for (const frame of run) known.apply(frame)
      known.remember(run)
      return run
    } catch (error) {
      deps.log.warn({ err: error, taskId: id, version }, 'could not read the transitions of a watched task')
      throw error
    }
  }

  async function refreshProgress(): Promise<void> {
    if (known.task?.status !== 'PROCESSING') return
    try {
      const task = await deps.readTask(principal, id)
      const message = task && progressOf(task)
      if (message && message.progress.at !== known.task.progress?.at) accept(toFrame(message))
    } catch (error) {
      deps.log.warn({ err: error, taskId: id }, 'could not read the progress of a watched task')
    }
  }

  function attach({ since, logs: wantsLogs = false }: Position, sink: Sink): RoomStream {
    const stream = createTaskStream(source, {
      since,
      logs: wantsLogs,
      sink,
      maxStuckMs: deps.maxStuckMs,
      onEnd: () => leave(stream),
      onFailure,
    })
    streams.add(stream)
    hasWishForLogs ||= wantsLogs
    if (wantsLogs) logs.want()
    stream.advance()
    return stream
  }

  function onFailure(error: unknown): void {
    deps.log.warn({ err: error, taskId: id }, 'a stream failed and was closed')
  }

  function leave(stream: RoomStream): void {
    streams.delete(stream)
    neededAtMs = performance.now()
  }

  const source = {
    get task() {
      return known.task
    },
    get progress() {
      return known.progress
    },
    logs,
    snapshot: known.snapshot,
    readSnapshot,
    find: known.find,
    readAfter,
    whenAllTold(close: () => void) {
      if (fanOut.isUnderWay()) ended.push(close)
      else deps.closer.add([close])
    },
  }

  return {
    tenant: principal.tenant,
    id,
    get task() {
      return known.task
    },
    get streamCount() {
      return streams.size
    },
    load,
    accept,
    moveTo,
    refreshProgress,
    attach,
    acceptLine: logs.accept,
    tend() {
      if (hasWishForLogs) logs.want()
      for (const stream of streams) stream.closeIfStuck()
      fanOut.visitAll()
    },
    closeStreams(code, reason) {
      for (const stream of streams) stream.close(code, reason())
    },
    forget: known.forget,
    idleMs: () => (streams.size > 0 || loading !== undefined ? 0 : performance.now() - neededAtMs),
  }
}
