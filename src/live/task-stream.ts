/**
 * One connection that follows one task.
 *
 * It guarantees its client every transition after its starting point, once and in order, then the end. It holds a
 * cursor, the version it has sent, and nothing else: no queue. Whenever something may have changed (an event, a drained
 * socket, a finished read, a periodic check) it sends, step by step, what comes after its cursor:
 *
 * 1. Nothing sent yet: the opening. `snapshot`; or with `since` the message `resumed`. The snapshot of a large task is
 *    read when the socket has room for it.
 * 2. Behind its room: the next transition, from memory or from a page read from PostgreSQL.
 * 3. Level with its room, and the task has ended: the stream is over, once the socket has taken almost all. The room
 *    closes it with 1000, when all streams have received the end.
 * 4. Level with its room: the latest progress, if it was not sent yet. Intermediate progress is skipped.
 *
 * With `logs`, the handler's log lines are sent when the stream is level with its room, and before the last transition.
 *
 * Failures:
 * - The socket is full: the stream stops and forgets its page; `drained` continues at the cursor. A socket that takes
 *   not one byte for `maxStuckMs` is closed with 4002. Closing it because it is full would be a livelock: the client
 *   would reconnect, get the same burst, and its socket would be full again.
 * - A read fails: the stream waits for the next check.
 * - An unexpected exception: this stream ends with 1011. Its room and the other streams continue.
 * - PostgreSQL has nothing after a position, even on a second read: the position was never reached here, or its history
 *   is gone. The answer is `snapshot` with `reset`.
 */
import { isFinal, type Status } from '../protocol/status.js'
import { CLOSE_CODES, type ProgressMessage, type SnapshotMessage, type StreamMessage } from '../protocol/stream.js'
import type { Task } from '../protocol/task.js'
import { findInRange, toFrame, type Frame, type TransitionRange, type TransitionFrame } from './frame.js'
import type { LogTail } from './log-tail.js'

/** The maximum buffered bytes of a socket. A larger frame is sent alone. */
export const MAX_BUFFERED_BYTES = 64 * 1024
/** Below this a socket has room again. */
export const LOW_WATER_BYTES = 16 * 1024

/** The destination of frames. None of its functions throws, even if the connection is closed. */
export interface Sink {
  /** `json` is the text of `message`, if it is a stream message; the text is shared by all receivers. */
  send(json: string, message?: StreamMessage): void
  /** The bytes that were sent and not yet passed to the network. */
  bufferedBytes(): number
  close(code: number, reason: string): void
}

/** What the transport reports to a stream. */
export interface TaskStream {
  /** The socket has room again: call it whenever the buffer falls below `LOW_WATER_BYTES`. */
  drained(): void
  /** The connection is closed. Idempotent. */
  stop(): void
}

/** What the room reports to a stream in addition. */
export interface RoomStream extends TaskStream {
  /** Sends whatever is pending. May be called at any time. */
  advance(): void
  close(code: number, reason: string): void
  /** Closes with 4002 if the client has read nothing for `maxStuckMs`. Call it now and then. */
  closeIfStuck(): void
}

/** What a stream needs from its room. */
export interface StreamSource {
  readonly task: Task | undefined
  readonly progress: Frame<ProgressMessage> | undefined
  readonly logs: Pick<LogTail, 'isReady' | 'after'>
  /** Undefined: `readSnapshot` reads it. */
  snapshot(): Frame<SnapshotMessage> | undefined
  /** Reads the next result of `snapshot`. False: the task has moved on, and the room will report it. */
  readSnapshot(): Promise<boolean>
  find(version: number): TransitionFrame | undefined
  /**
   * Reads the transitions after `version`. The read starts after the call, and the room knows its result before the
   * caller does.
   */
  readAfter(version: number): Promise<TransitionRange>
  /** The stream has sent everything: call `close` once the others have been sent everything too. */
  whenAllTold(close: () => void): void
}

export interface StreamOptions {
  /** The version that the client holds. Undefined: none. */
  since: number | undefined
  /** Whether the client wants the handler's log lines. */
  logs: boolean
  sink: Sink
  maxStuckMs: number
  /** Called once, when nothing more will be sent. */
  onEnd(): void
  /** Receives a bug of ours, which has ended this stream with 1011. */
  onFailure(error: unknown): void
}

export function createTaskStream(
  room: StreamSource,
  { since, logs, sink, maxStuckMs, onEnd, onFailure }: StreamOptions,
): RoomStream {
  let cursor: number | undefined
  let logCursor = 0
  let page: TransitionRange = []
  let progressSent: Frame | undefined
  let stuck: { sinceMs: number; bytes: number } | undefined
  let isBusy = false
  let isLost = false
  let isEnding = false
  let isOver = false

  function advance(): void {
    if (isBusy) return
    isBusy = true
    try {
      isBusy = takeSteps()
    } catch (error) {
      onFailure(error)
      close(CLOSE_CODES.internalError, 'internal server error')
    }
  }

  /** Returns whether a read is in progress, which continues by itself. */
  function takeSteps(): boolean {
    while (!isOver) {
      const step = takeStep()
      if (step !== 'sent') return step === 'read'
    }
    return false
  }

  /** `sent`: there may be more. `wait`: until the next call of `advance`. `read`: until the read has ended. */
  function takeStep(): 'sent' | 'wait' | 'read' {
    const { task } = room
    if (task === undefined) return 'wait'
    if (cursor === undefined) return open(task)
    const isNearEnd = cursor === task.version || (cursor === task.version - 1 && isFinal(task.status))
    const step = logs && isNearEnd ? sendLine() : undefined
    if (step !== undefined) return step
    if (cursor < task.version) return sendNext(cursor)
    page = []
    if (isFinal(task.status)) return end()
    return sendProgress()
  }

  function open(task: Task): 'sent' | 'wait' | 'read' {
    if (since === undefined) return sendSnapshot(task)
    if (since === task.version) return sendResumed(since, task.status)
    if (since > task.version) return seek(task.version)
    const next = findNext(since)
    return next ? sendResumed(since, next.message.from ?? next.message.status) : seek(since)
  }

  function sendSnapshot(task: Task, mark: { reset?: true } = {}): 'sent' | 'wait' | 'read' {
    const frame = room.snapshot()
    if (frame === undefined)
      return sink.bufferedBytes() >= LOW_WATER_BYTES ? waitForRoom() : readFirst(room.readSnapshot())
    if (!offer(mark.reset ? toFrame({ ...frame.message, ...mark }) : frame)) return 'wait'
    cursor = task.version
    progressSent = room.progress
    return 'sent'
  }

  function sendResumed(version: number, status: Status): 'sent' | 'wait' {
    const taskId = room.task?.id
    if (taskId === undefined || !offer(toFrame({ type: 'resumed', taskId, status, version }))) return 'wait'
    cursor = version
    return 'sent'
  }

  function sendNext(version: number): 'sent' | 'wait' | 'read' {
    const frame = findNext(version)
    if (frame === undefined) return seek(version)
    if (!offer(frame)) return 'wait'
    cursor = version + 1
    return 'sent'
  }

  /** Undefined: there is none left. */
  function sendLine(): 'sent' | 'wait' | undefined {
    if (!room.logs.isReady()) return 'wait'
    const frame = room.logs.after(logCursor)
    if (frame === undefined) return undefined
    if (!offer(frame)) return 'wait'
    logCursor = frame.message.line.seq
    return 'sent'
  }

  function sendProgress(): 'sent' | 'wait' {
    const { progress } = room
    if (progress === undefined || progress === progressSent || !offer(progress)) return 'wait'
    progressSent = progress
    return 'sent'
  }

  function end(): 'wait' {
    if (isEnding) return 'wait'
    if (sink.bufferedBytes() >= LOW_WATER_BYTES) return waitForRoom()
    isEnding = true
    room.whenAllTold(() => close(CLOSE_CODES.ended, 'ended'))
    return 'wait'
  }

  function findNext(version: number): TransitionFrame | undefined {
    return findInRange(page, version + 1) ?? room.find(version + 1)
  }

  /** No transition in memory follows `version`. */
  function seek(version: number): 'sent' | 'wait' | 'read' {
    const { task } = room
    if (isLost && task) return sendSnapshot(task, { reset: true })
    return readFirst(
      room.readAfter(version).then((run) => {
        page = run
        isLost = run.length === 0
        return true
      }),
    )
  }

  /** Continues when the read is done. If it fails, the next check tries again. */
  function readFirst(read: Promise<boolean>): 'read' {
    read.then(
      (isRead) => {
        isBusy = false
        if (isRead) advance()
      },
      () => (isBusy = false),
    )
    return 'read'
  }

  function offer(frame: Frame): boolean {
    const buffered = sink.bufferedBytes()
    if (buffered >= LOW_WATER_BYTES && buffered + frame.bytes > MAX_BUFFERED_BYTES) {
      waitForRoom()
      return false
    }
    stuck = undefined
    isLost = false
    sink.send(frame.json, frame.message)
    return true
  }

  function waitForRoom(): 'wait' {
    stuck ??= { sinceMs: performance.now(), bytes: sink.bufferedBytes() }
    page = []
    return 'wait'
  }

  function close(code: number, reason: string): void {
    if (isOver) return
    stop()
    if (isEnding) sink.close(CLOSE_CODES.ended, 'ended')
    else sink.close(code, reason)
  }

  function stop(): void {
    if (isOver) return
    isOver = true
    page = []
    onEnd()
  }

  function closeIfStuck(): void {
    if (stuck === undefined) return
    const bytes = sink.bufferedBytes()
    if (bytes < stuck.bytes) stuck = { sinceMs: performance.now(), bytes }
    else if (performance.now() - stuck.sinceMs > maxStuckMs)
      close(CLOSE_CODES.tooSlow, `the client read nothing for ${maxStuckMs} ms`)
  }

  return { advance, drained: advance, close, stop, closeIfStuck }
}
