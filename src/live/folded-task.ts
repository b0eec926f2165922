/**
 * This process's copy of one watched task, folded from a first read and the events after it.
 *
 * An event that does not follow the held version is kept back and applied as soon as the versions in between have
 * arrived, from any source: so events that arrive during the first read or a refill need no second read.
 */
import { fold } from '../protocol/fold.js'
import type { ProgressMessage, SnapshotMessage } from '../protocol/stream.js'
import type { Task } from '../protocol/task.js'
import {
  findInRange,
  isTransition,
  toFrame,
  type EventFrame,
  type Frame,
  type TransitionRange,
  type TransitionFrame,
} from './frame.js'
import type { HeldFrames } from './held-frames.js'

/** Transitions kept in memory, for streams that resume or fell slightly behind. */
const MAX_RECENT_FRAMES = 32
/** A transition with a larger result is kept with the whole tasks, and the task is kept without that result. */
const MAX_KEPT_BYTES = 16 * 1024
/**
 * The maximum size of the kept transitions together, except the last: edits may be as large as payloads. The others are
 * read from PostgreSQL.
 */
const MAX_RECENT_BYTES = 64 * 1024
/** The maximum number of events kept back. Events lost beyond that are read from PostgreSQL. */
const MAX_HELD_FRAMES = 32

export class FoldedTask {
  readonly #onChange: () => void
  readonly #frames: HeldFrames
  #task: Task | undefined
  #isLarge = false
  #progress: Frame<ProgressMessage> | undefined
  #snapshot: Frame<SnapshotMessage> | undefined
  #recent: TransitionFrame[] = []
  #held: EventFrame[] = []

  /** @param onChange is called after each step, when the task is already updated */
  constructor(onChange: () => void, frames: HeldFrames) {
    this.#onChange = onChange
    this.#frames = frames
  }

  /** Undefined until `begin`. */
  get task(): Task | undefined {
    return this.#task
  }

  /** The latest progress of the current version. */
  get progress(): Frame<ProgressMessage> | undefined {
    return this.#progress
  }

  /** Whether payload and result are too large to be kept: `task` has neither. */
  get isLarge(): boolean {
    return this.#isLarge
  }

  /** Uses the first read as the starting point. */
  begin(task: Task, isLarge: boolean): void {
    this.#task = task
    this.#isLarge = isLarge
    const message = progressOf(task)
    this.#progress = message && toFrame(message)
    this.#onChange()
    this.#releaseHeld()
  }

  /** `gap`: kept back; an earlier event is missing. */
  apply(frame: EventFrame): 'applied' | 'stale' | 'gap' {
    const folded = fold(this.#task, frame.message)
    if (folded.outcome === 'gap') this.#held = [...this.#held, frame].slice(-MAX_HELD_FRAMES)
    if (folded.outcome !== 'applied') return folded.outcome
    if (frame.json === this.#progress?.json) return 'stale'
    this.#isLarge ||= frame.bytes > MAX_KEPT_BYTES
    this.#task = folded.task && this.#isLarge ? { ...folded.task, payload: null, result: null } : folded.task
    this.#keep(frame)
    this.#onChange()
    this.#releaseHeld()
    return 'applied'
  }

  /** Adds older transitions that end where the held ones begin. */
  remember(range: TransitionRange): void {
    if (this.#task === undefined) return
    const firstKnown = this.#recent[0]?.message.version ?? this.#task.version + 1
    const older = range.filter((frame) => frame.message.version < firstKnown)
    if (older.at(-1)?.message.version === firstKnown - 1) this.#keepRecent([...older, ...this.#recent])
  }

  /** The transition to `version`, if it is in memory. */
  find(version: number): TransitionFrame | undefined {
    return findInRange(this.#recent, version)
  }

  /**
   * The whole task as a message; serialised once per change. Undefined if there is no task, or if it is large and not
   * kept.
   */
  snapshot(): Frame<SnapshotMessage> | undefined {
    if (this.#snapshot) this.#frames.touch(this.#snapshot)
    else if (this.#task && !this.#isLarge) this.#keepSnapshot(this.#task)
    return this.#snapshot
  }

  /** Sets the payload and the result of a large task, read at its current version. */
  fill({ payload, result }: Task): void {
    if (this.#task) this.#keepSnapshot({ ...this.#task, payload, result })
  }

  /** It will not be requested again. */
  forget(): void {
    this.#dropSnapshot()
    for (const frame of this.#recent) this.#frames.release(frame)
  }

  #keep(frame: EventFrame): void {
    this.#dropSnapshot()
    if (isTransition(frame)) {
      this.#progress = undefined
      this.#keepRecent([...this.#recent, frame])
      if (frame.bytes > MAX_KEPT_BYTES)
        this.#frames.hold(frame, () => (this.#recent = this.#recent.slice(this.#recent.indexOf(frame) + 1)))
    } else {
      this.#progress = frame
    }
  }

  #keepRecent(all: TransitionFrame[]): void {
    this.#recent = boundRecent(all)
    for (const frame of all.slice(0, all.length - this.#recent.length)) this.#frames.release(frame)
  }

  #dropSnapshot(): void {
    if (this.#snapshot) this.#frames.release(this.#snapshot)
    this.#snapshot = undefined
  }

  #keepSnapshot(whole: Task): void {
    const frame = toFrame(toSnapshot(whole))
    this.#snapshot = frame
    this.#frames.hold(frame, () => {
      if (this.#snapshot === frame) this.#snapshot = undefined
    })
  }

  #releaseHeld(): void {
    const frames = this.#held
    this.#held = []
    for (const frame of frames) this.apply(frame)
  }
}

/**
 * The latest of these, as many as are kept; always including the last one, because all streams are about to request it.
 */
function boundRecent(frames: TransitionFrame[]): TransitionFrame[] {
  let bytes = 0
  const tooOld = frames.findLastIndex((frame, index) => {
    if (index === frames.length - 1) return false
    bytes += frame.bytes
    return bytes > MAX_RECENT_BYTES || frames.length - index > MAX_RECENT_FRAMES
  })
  return frames.slice(tooOld + 1)
}

function toSnapshot(task: Task): SnapshotMessage {
  return { type: 'snapshot', taskId: task.id, status: task.status, version: task.version, task }
}

/** The progress of a running task, as the message that reported it. */
export function progressOf({ id, status, version, attempt, progress }: Task): ProgressMessage | undefined {
  return status === 'PROCESSING' && progress
    ? { type: 'progress', taskId: id, status, version, attempt, progress }
    : undefined
}
