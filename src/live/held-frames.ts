/**
 * Frames that are kept for the next who want them, within a bound of bytes for the whole process.
 *
 * What a task may hold (payload, result) is large, and thousands of tasks are watched: so their rooms keep none of it, and whole tasks
 * are kept here as frames. Over the bound the one that was used least recently is dropped; who wants it again has it read again.
 */
import type { Frame } from './frame.js'

export interface HeldFrames {
  /** @param drop called when the frame must not be kept any more; must not throw */
  hold(frame: Frame, drop: () => void): void
  /** The frame was used. */
  touch(frame: Frame): void
  /** Nobody will want the frame again. */
  release(frame: Frame): void
  readonly heldBytes: number
}

export function createHeldFrames(maxBytes: number): HeldFrames {
  /** The one used least recently first. */
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
