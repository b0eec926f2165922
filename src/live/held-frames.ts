/**
 * Frames cached for the next stream that needs them, within a limit of bytes for the whole process.
 *
 * The contents of a task (payload, result) may be large, and thousands of tasks are watched. So their rooms keep no
 * contents, and whole tasks are cached here as frames. Above the limit the least recently used frame is dropped; it is
 * read again when it is needed.
 */
import type { Frame } from './frame.js'

export interface HeldFrames {
  /** @param drop called when the frame must no longer be kept; must not throw */
  hold(frame: Frame, drop: () => void): void
  /** The frame was used. */
  touch(frame: Frame): void
  /** The frame will not be needed again. */
  release(frame: Frame): void
  readonly heldBytes: number
}

export function createHeldFrames(maxBytes: number): HeldFrames {
  /** The least recently used first. */
  const drops = new Map<Frame, () => void>()
  let heldBytes = 0

  function release(frame: Frame): void {
    if (drops.delete(frame)) heldBytes -= frame.bytes
  }

  return {
    hold(frame, drop) {
      release(frame)
      drops.set(frame, drop)
      heldBytes += frame.bytes
      for (const [oldest, dropOldest] of drops) {
        if (heldBytes <= maxBytes) return
        release(oldest)
        dropOldest()
      }
    },
    touch(frame) {
      const drop = drops.get(frame)
      if (drop === undefined) return
      drops.delete(frame)
      drops.set(frame, drop)
    },
    release,
    get heldBytes() {
      return heldBytes
    },
  }
}
