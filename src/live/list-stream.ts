/**
 * One connection that follows one list. It holds the revision it has sent, and no queue: while its client reads
 * nothing, nothing is kept for it, and when there is room again it receives the whole current list. A client that reads
 * not one byte for `maxStuckMs` is closed with 4002.
 */
import type { ListStreamMessage } from '../protocol/list.js'
import { CLOSE_CODES } from '../protocol/stream.js'
import { LOW_WATER_BYTES, MAX_BUFFERED_BYTES, type Sink, type TaskStream } from './task-stream.js'

/** The destination of a list's messages. None of its functions throws. */
export interface ListSink extends Pick<Sink, 'bufferedBytes' | 'close'> {
  /** `json` is the text of `message`, shared by all receivers. */
  sendList(json: string, message: ListStreamMessage): void
}

/** A message of a list, serialised once for all receivers. */
export interface ListFrame {
  readonly message: ListStreamMessage
  readonly json: string
  readonly bytes: number
}

export interface ListSource {
  readonly revision: number
  /** The whole list at the current revision. */
  listFrame(): ListFrame
  /** The change that leads to this revision, while it is kept. */
  changeFrame(revision: number): ListFrame | undefined
}

export class ListStream implements TaskStream {
  readonly #source: ListSource
  readonly #sink: ListSink
  readonly #onEnd: (stream: ListStream) => void
  /** Undefined: the whole list must be sent. */
  #revision: number | undefined
  #stuck: { sinceMs: number; bytes: number } | undefined
  #isOver = false

  constructor(source: ListSource, sink: ListSink, onEnd: (stream: ListStream) => void) {
    this.#source = source
    this.#sink = sink
    this.#onEnd = onEnd
  }

  /** Sends whatever is pending. May be called at any time. */
  advance(): void {
    while (!this.#isOver && this.#revision !== this.#source.revision) {
      const change = this.#revision === undefined ? undefined : this.#source.changeFrame(this.#revision + 1)
      const frame = change ?? this.#source.listFrame()
      const buffered = this.#sink.bufferedBytes()
      if (buffered >= LOW_WATER_BYTES && buffered + frame.bytes > MAX_BUFFERED_BYTES) {
        this.#stuck ??= { sinceMs: performance.now(), bytes: buffered }
        this.#revision = undefined
        return
      }
      this.#stuck = undefined
      this.#revision = frame.message.revision
      this.#sink.sendList(frame.json, frame.message)
    }
  }

  drained(): void {
    this.advance()
  }

  closeIfStuck(maxStuckMs: number): void {
    if (this.#stuck === undefined) return
    const bytes = this.#sink.bufferedBytes()
    if (bytes < this.#stuck.bytes) this.#stuck = { sinceMs: performance.now(), bytes }
    else if (performance.now() - this.#stuck.sinceMs > maxStuckMs)
      this.close(CLOSE_CODES.tooSlow, `the client read nothing for ${maxStuckMs} ms`)
  }

  close(code: number, reason: string): void {
    if (this.#isOver) return
    this.stop()
    this.#sink.close(code, reason)
  }

  stop(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#onEnd(this)
  }
}
