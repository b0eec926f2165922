/**
 * One connection that follows one task.
 *
 * Promise: after its first message it sends every transition once, in order, and ends after a final one. Progress may be
 * skipped; the latest arrives.
 *
 * The stream has a cursor, the version it was sent last, and no queue. `pump` sends what lies between the cursor and the
 * room's state, and may be called at any time by anybody:
 *
 * - The next transition is among the room's latest frames: sent. It is not: a page is read from the history.
 * - The socket is full: nothing is kept. `drained` pumps again, and what was missed meanwhile is read again.
 * - The socket takes nothing for 30 s: closed with 4002. The client resumes from where it was.
 */
import { isFinal } from '../protocol/status.js'
import { CLOSE_CODES, type ResumedMessage } from '../protocol/stream.js'
import type { Frame, Room } from './room.js'
import type { Sink } from './sink.js'

/** What a socket may hold before its stream waits, in bytes. */
const MAX_BUFFERED_BYTES = 64 * 1024
/** How long a full socket may take nothing. */
export const MAX_STALL_MS = 30_000

export class TaskStream {
  private cursor = 0
  private progressCount = 0
  private isStarted = false
  private isOver = false
  private isReading = false
  private fullSinceMs: number | undefined

  constructor(
    private readonly room: Room,
    private readonly sink: Sink,
  ) {}

  /** Sends the first message, then everything after it. @param since the position to continue from, when there is one */
  async start(since: number | undefined): Promise<void> {
    if (since !== undefined && since > this.room.task.version) await this.room.refill()
    if (this.isOver) return
    if (since === undefined) this.begin(this.room.snapshotFrame(), this.room.task.version)
    else if (since > this.room.task.version) this.begin(this.room.resetFrame(), this.room.task.version)
    else await this.resume(since)
  }

  /** Sends what there is to send, as far as the socket takes it. */
  pump(): void {
    if (!this.isStarted || this.isReading || this.isOver) return
    while (this.cursor < this.room.task.version) {
      const frame = this.room.recentFrameAfter(this.cursor)
      if (frame === undefined) {
        void this.readOn()
        return
      }
      if (!this.sendTransition(frame)) return
    }
    this.sendProgress()
    if (this.room.isFinal && this.fullSinceMs === undefined) this.close(CLOSE_CODES.ended, 'ended')
  }

  /** The socket has room again. */
  drained(): void {
    if (this.fullSinceMs === undefined) return
    this.fullSinceMs = undefined
    this.pump()
  }

  /** Ends a stream whose socket takes nothing. Called by the hub's timer. */
  closeIfStalled(nowMs: number): void {
    if (this.fullSinceMs !== undefined && nowMs - this.fullSinceMs > MAX_STALL_MS) this.close(CLOSE_CODES.tooSlow, 'nothing was taken for 30 s')
  }

  close(code: number, reason: string): void {
    if (this.isOver) return
    this.stop()
    this.sink.close(code, reason)
  }

  /** The connection is gone, or about to be. Idempotent. */
  stop(): void {
    this.isOver = true
    this.room.streams.delete(this)
    if (this.room.streams.size === 0) this.room.idleSinceMs = performance.now()
  }

  private begin(frame: string, version: number): void {
    this.cursor = version
    this.progressCount = this.room.progress.count
    this.isStarted = true
    this.sink.send(frame)
    this.pump()
  }

  private async resume(since: number): Promise<void> {
    const { id, task } = this.room
    // Before the first transition there is no status; that of the first stands in.
    const known = since === task.version ? task : this.room.recentFrameAfter(since - 1)
    const at = known ?? (await this.room.readFramesAfter(Math.max(since - 1, 0), 1))[0]
    if (this.isOver) return
    if (at === undefined) throw new Error(`the history of task ${id} has no version ${since}`)
    const message: ResumedMessage = { type: 'resumed', taskId: id, status: at.status, version: since }
    this.begin(JSON.stringify(message), since)
    // Progress has no place in the history: the latest of the current version follows the transitions.
    this.progressCount = 0
    this.pump()
  }

  private async readOn(): Promise<void> {
    this.isReading = true
    try {
      for (const frame of await this.room.readFramesAfter(this.cursor)) {
        if (this.isOver || frame.version !== this.cursor + 1 || !this.sendTransition(frame)) break
      }
      this.isReading = false
      this.pump()
    } catch {
      // The client is better off with another try than with a stream that stands still.
      this.close(CLOSE_CODES.positionLost, 'the history could not be read')
    } finally {
      this.isReading = false
    }
  }

  private sendTransition(frame: Frame): boolean {
    if (!this.hasRoom(frame.text)) return false
    this.cursor = frame.version
    this.sink.send(frame.text)
    if (isFinal(frame.status)) this.close(CLOSE_CODES.ended, 'ended')
    return !this.isOver
  }

  private sendProgress(): void {
    const { text, count } = this.room.progress
    if (this.progressCount === count || text === '' || !this.hasRoom(text)) return
    this.progressCount = count
    this.sink.send(text)
  }

  private hasRoom(frame: string): boolean {
    const buffered = this.sink.bufferedBytes()
    // An empty socket takes anything, or a frame above the limit would never be sent.
    if (buffered === 0 || buffered + frame.length <= MAX_BUFFERED_BYTES) return true
    this.fullSinceMs ??= performance.now()
    return false
  }
}
