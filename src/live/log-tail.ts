/**
 * The latest lines that a watched task has logged, for the streams that ask for them. Nothing is read before one does.
 *
 * Lines are hints: of very many only the latest are kept, and one that the broker lost is missing. When the task has ended
 * they are read once more, so that the last lines are there before the end.
 */
import type { LogMessage } from '../protocol/stream.js'
import { toFrame, type Frame } from './frame.js'

/** Lines kept, and read. */
const MAX_LINES = 200

export interface LogTail {
  accept(frame: Frame<LogMessage>): void
  /** Somebody wants them: reads what is stored. Harmless at any time; a failed read is tried again by the next call. */
  want(): void
  /** The task has ended. */
  complete(): void
  /** Whether what `after` says can be relied on. */
  isReady(): boolean
  /** The first line after this one. */
  after(seq: number): Frame<LogMessage> | undefined
}

export interface LogTailDeps {
  read(limit: number): Promise<LogMessage[]>
  /** There may be something new. */
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
      // Logged where it was read.
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
