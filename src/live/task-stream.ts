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
 * 5. The same for what the task waits for.
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
import {
  CLOSE_CODES,
  type ProgressMessage,
  type SnapshotMessage,
  type StreamMessage,
  type WaitingMessage,
} from '../protocol/stream.js'
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

/** What a stream needs from its room. */
export interface StreamSource {
  readonly task: Task | undefined
  readonly progress: Frame<ProgressMessage> | undefined
  readonly waiting: { readonly frame: Frame<WaitingMessage> | undefined }
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

export class RoomStream implements TaskStream {
  readonly #room: StreamSource
  readonly #options: StreamOptions
  readonly #sink: Sink
  #cursor: number | undefined
  #logCursor = 0
  #page: TransitionRange = []
  #progressSent: Frame | undefined
  #waitingSent: Frame<WaitingMessage> | undefined
  #stuck: { sinceMs: number; bytes: number } | undefined
  #isBusy = false
  #isLost = false
  #isEnding = false
  #isOver = false

  constructor(room: StreamSource, options: StreamOptions) {
    this.#room = room
    this.#options = options
    this.#sink = options.sink
  }

  /** Sends whatever is pending. May be called at any time. */
  advance(): void {
    if (this.#isBusy) return
    this.#isBusy = true
    try {
      this.#isBusy = this.#takeSteps()
    } catch (error) {
      this.#options.onFailure(error)
      this.close(CLOSE_CODES.internalError, 'internal server error')
    }
  }

  drained(): void {
    this.advance()
  }

  close(code: number, reason: string): void {
    if (this.#isOver) return
    this.stop()
    if (this.#isEnding) this.#sink.close(CLOSE_CODES.ended, 'ended')
    else this.#sink.close(code, reason)
  }

  stop(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#page = []
    this.#options.onEnd()
  }

  /** Closes with 4002 if the client has read nothing for `maxStuckMs`. Call it now and then. */
  closeIfStuck(): void {
    if (this.#stuck === undefined) return
    const { maxStuckMs } = this.#options
    const bytes = this.#sink.bufferedBytes()
    if (bytes < this.#stuck.bytes) this.#stuck = { sinceMs: performance.now(), bytes }
    else if (performance.now() - this.#stuck.sinceMs > maxStuckMs)
      this.close(CLOSE_CODES.tooSlow, `the client read nothing for ${maxStuckMs} ms`)
  }

  /** Returns whether a read is in progress, which continues by itself. */
  #takeSteps(): boolean {
    while (!this.#isOver) {
      const step = this.#takeStep()
      if (step !== 'sent') return step === 'read'
    }
    return false
  }

  /** `sent`: there may be more. `wait`: until the next call of `advance`. `read`: until the read has ended. */
  #takeStep(): 'sent' | 'wait' | 'read' {
    const { task } = this.#room
    if (task === undefined) return 'wait'
    if (this.#cursor === undefined) return this.#open(task)
    const isNearEnd = this.#cursor === task.version || (this.#cursor === task.version - 1 && isFinal(task.status))
    const step = this.#options.logs && isNearEnd ? this.#sendLine() : undefined
    if (step !== undefined) return step
    if (this.#cursor < task.version) return this.#sendNext(this.#cursor)
    this.#page = []
    if (isFinal(task.status)) return this.#end()
    return this.#sendProgress() === 'sent' ? 'sent' : this.#sendWaiting()
  }

  #open(task: Task): 'sent' | 'wait' | 'read' {
    const { since } = this.#options
    if (since === undefined) return this.#sendSnapshot(task)
    if (since === task.version) return this.#sendResumed(since, task.status)
    if (since > task.version) return this.#seek(task.version)
    const next = this.#findNext(since)
    return next ? this.#sendResumed(since, next.message.from ?? next.message.status) : this.#seek(since)
  }

  #sendSnapshot(task: Task, mark: { reset?: true } = {}): 'sent' | 'wait' | 'read' {
    const frame = this.#room.snapshot()
    if (frame === undefined)
      return this.#sink.bufferedBytes() >= LOW_WATER_BYTES
        ? this.#waitForRoom()
        : this.#readFirst(this.#room.readSnapshot())
    if (!this.#offer(mark.reset ? toFrame({ ...frame.message, ...mark }) : frame)) return 'wait'
    this.#cursor = task.version
    this.#progressSent = this.#room.progress
    return 'sent'
  }

  #sendResumed(version: number, status: Status): 'sent' | 'wait' {
    const taskId = this.#room.task?.id
    if (taskId === undefined || !this.#offer(toFrame({ type: 'resumed', taskId, status, version }))) return 'wait'
    this.#cursor = version
    return 'sent'
  }

  #sendNext(version: number): 'sent' | 'wait' | 'read' {
    const frame = this.#findNext(version)
    if (frame === undefined) return this.#seek(version)
    if (!this.#offer(frame)) return 'wait'
    this.#cursor = version + 1
    return 'sent'
  }

  /** Undefined: there is none left. */
  #sendLine(): 'sent' | 'wait' | undefined {
    if (!this.#room.logs.isReady()) return 'wait'
    const frame = this.#room.logs.after(this.#logCursor)
    if (frame === undefined) return undefined
    if (!this.#offer(frame)) return 'wait'
    this.#logCursor = frame.message.line.seq
    return 'sent'
  }

  #sendProgress(): 'sent' | 'wait' {
    const { progress } = this.#room
    if (progress === undefined || progress === this.#progressSent || !this.#offer(progress)) return 'wait'
    this.#progressSent = progress
    return 'sent'
  }

  #sendWaiting(): 'sent' | 'wait' {
    const { frame } = this.#room.waiting
    if (frame === undefined || frame === this.#waitingSent) return 'wait'
    // That a task has started matters to those who were told why it waited.
    if (frame.message.waitingFor === null && !this.#waitingSent?.message.waitingFor) return 'wait'
    if (!this.#offer(frame)) return 'wait'
    this.#waitingSent = frame
    return 'sent'
  }

  #end(): 'wait' {
    if (this.#isEnding) return 'wait'
    if (this.#sink.bufferedBytes() >= LOW_WATER_BYTES) return this.#waitForRoom()
    this.#isEnding = true
    this.#room.whenAllTold(() => this.close(CLOSE_CODES.ended, 'ended'))
    return 'wait'
  }

  #findNext(version: number): TransitionFrame | undefined {
    return findInRange(this.#page, version + 1) ?? this.#room.find(version + 1)
  }

  /** No transition in memory follows `version`. */
  #seek(version: number): 'sent' | 'wait' | 'read' {
    const { task } = this.#room
    if (this.#isLost && task) return this.#sendSnapshot(task, { reset: true })
    return this.#readFirst(
      this.#room.readAfter(version).then((range) => {
        this.#page = range
        this.#isLost = range.length === 0
        return true
      }),
    )
  }

  /** Continues when the read is done. If it fails, the next check tries again. */
  #readFirst(read: Promise<boolean>): 'read' {
    read.then(
      (isRead) => {
        this.#isBusy = false
        if (isRead) this.advance()
      },
      () => (this.#isBusy = false),
    )
    return 'read'
  }

  #offer(frame: Frame): boolean {
    const buffered = this.#sink.bufferedBytes()
    if (buffered >= LOW_WATER_BYTES && buffered + frame.bytes > MAX_BUFFERED_BYTES) {
      this.#waitForRoom()
      return false
    }
    this.#stuck = undefined
    this.#isLost = false
    this.#sink.send(frame.json, frame.message)
    return true
  }

  #waitForRoom(): 'wait' {
    this.#stuck ??= { sinceMs: performance.now(), bytes: this.#sink.bufferedBytes() }
    this.#page = []
    return 'wait'
  }
}
