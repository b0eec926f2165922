/** The streams that one connection has open, by id. An id without a stream yet is taken: its stream is about to start. */
import type { TaskStream } from './task-stream.js'

export class OpenStreams<Id, Entry extends { stream?: TaskStream | undefined }> {
  protected readonly entries = new Map<Id, Entry>()

  get size(): number {
    return this.entries.size
  }

  has(id: Id): boolean {
    return this.entries.has(id)
  }

  /** The socket has room again. */
  drained(): void {
    for (const { stream } of this.entries.values()) stream?.drained()
  }

  /** The connection is closed. */
  stop(): void {
    for (const { stream } of this.entries.values()) stream?.stop()
    this.entries.clear()
  }
}
