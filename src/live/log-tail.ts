/**
 * The latest log lines of a watched task, for the streams that ask for them. Nothing is read before one does.
 *
 * Lines are hints: if there are very many, only the latest are kept, and lines that the broker lost are missing. When
 * the task has ended they are read once more, so that the last lines are sent before the end.
 */
import type { LogMessage } from '../protocol/stream.js'
import { toFrame, type Frame } from './frame.js'

/** How many lines are kept, and read. */
const MAX_LINES = 200

export interface LogTail {
  accept(frame: Frame<LogMessage>): void
  /**
   * A stream needs the lines: reads the stored ones. May be called at any time; a failed read is retried by the next
   * call.
   */
  want(): void
  /** The task has ended. */
  complete(): void
  /** Whether the result of `after` is complete. */
  isReady(): boolean
  /** The first line after this one. */
  after(seq: number): Frame<LogMessage> | undefined
}

export interface LogTailDeps {
  read(limit: number): Promise<LogMessage[]>
  /** There may be new lines. */
  onChange(): void
}

export function createLogTail({ read, onChange }: LogTailDeps): LogTail {
  const frames: Frame<LogMessage>[] = []
  let isWanted = false
  let isComplete = false
  let isRead = false
  let isReading = false

  function put(frame: Frame<LogMessage>): void {
    const { seq } = frame.message.line
    const index = frames.findLastIndex(({ message }) => message.line.seq <= seq)
    if (frames[index]?.message.line.seq === seq) return
    frames.splice(index + 1, 0, frame)
    if (frames.length > MAX_LINES) frames.shift()
  }

  async function load(): Promise<void> {
    if (isReading || isRead || !isWanted) return
    isReading = true
    const wasComplete = isComplete
    try {
      for (const message of await read(MAX_LINES)) put(toFrame(message))
      isRead = wasComplete === isComplete
      onChange()
    } catch {
      // Logged by the reader.
    } finally {
      isReading = false
    }
    if (wasComplete !== isComplete) await load()
  }

  return {
    accept(frame) {
      if (!isWanted) return
      put(frame)
      onChange()
    },
    want() {
      isWanted = true
      void load()
    },
    complete() {
      if (isComplete) return
      isComplete = true
      isRead = false
      void load()
    },
    isReady: () => isRead,
    after(seq) {
      const last = frames.at(-1)
      if (last === undefined || last.message.line.seq <= seq) return undefined
      return frames.find(({ message }) => message.line.seq > seq)
    },
  }
}
