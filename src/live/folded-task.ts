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

export interface FoldedTask {
  /** Undefined until `begin`. */
  readonly task: Task | undefined
  /** The latest progress of the current version. */
  readonly progress: Frame<ProgressMessage> | undefined
  /** Whether payload and result are too large to be kept: `task` has neither. */
  readonly isLarge: boolean
  /** Uses the first read as the starting point. */
  begin(task: Task, isLarge: boolean): void
  /** `gap`: kept back; an earlier event is missing. */
  apply(frame: EventFrame): 'applied' | 'stale' | 'gap'
  /** Adds older transitions that end where the held ones begin. */
  remember(run: TransitionRange): void
  /** The transition to `version`, if it is in memory. */
  find(version: number): TransitionFrame | undefined
  /**
   * The whole task as a message; serialised once per change. Undefined if there is no task, or if it is large and not
   * kept.
   */
  snapshot(): Frame<SnapshotMessage> | undefined
  /** Sets the payload and the result of a large task, read at its current version. */
  fill(whole: Task): void
  /** It will not be requested again. */
  forget(): void
}

/** `onChange` is called after each step, when the task is already updated. */
export function createFoldedTask(onChange: () => void, frames: HeldFrames): FoldedTask {
  let task: Task | undefined
  let isLarge = false
  let progress: Frame<ProgressMessage> | undefined
  let snapshot: Frame<SnapshotMessage> | undefined
  let recent: TransitionFrame[] = []
  let held: EventFrame[] = []

  function apply(frame: EventFrame): 'applied' | 'stale' | 'gap' {
    const folded = fold(task, frame.message)
    if (folded.outcome === 'gap') held = [...held, frame].slice(-MAX_HELD_FRAMES)
    if (folded.outcome !== 'applied') return folded.outcome
    if (frame.json === progress?.json) return 'stale'
    isLarge ||= frame.bytes > MAX_KEPT_BYTES
    task = folded.task && isLarge ? { ...folded.task, payload: null, result: null } : folded.task
    keep(frame)
    onChange()
    releaseHeld()
    return 'applied'
  }

  function keep(frame: EventFrame): void {
    dropSnapshot()
    if (isTransition(frame)) {
      progress = undefined
      keepRecent([...recent, frame])
      if (frame.bytes > MAX_KEPT_BYTES) frames.hold(frame, () => (recent = recent.slice(recent.indexOf(frame) + 1)))
    } else {
      progress = frame
    }
  }

  function keepRecent(all: TransitionFrame[]): void {
    recent = boundRecent(all)
    for (const frame of all.slice(0, all.length - recent.length)) frames.release(frame)
  }

  function dropSnapshot(): void {
    if (snapshot) frames.release(snapshot)
    snapshot = undefined
  }

  function keepSnapshot(whole: Task): void {
    const frame = toFrame(toSnapshot(whole))
    snapshot = frame
    frames.hold(frame, () => {
      if (snapshot === frame) snapshot = undefined
    })
  }

  function releaseHeld(): void {
    const frames = held
    held = []
    for (const frame of frames) apply(frame)
  }

  return {
    get task() {
      return task
    },
    get progress() {
      return progress
    },
    get isLarge() {
      return isLarge
    },
    begin(given, isGivenLarge) {
      task = given
      isLarge = isGivenLarge
      const message = progressOf(task)
      progress = message && toFrame(message)
      onChange()
      releaseHeld()
    },
    apply,
    remember(run) {
      if (task === undefined) return
      const firstKnown = recent[0]?.message.version ?? task.version + 1
      const older = run.filter((frame) => frame.message.version < firstKnown)
      if (older.at(-1)?.message.version === firstKnown - 1) keepRecent([...older, ...recent])
    },
    find: (version) => findInRange(recent, version),
    snapshot() {
      if (snapshot) frames.touch(snapshot)
      else if (task && !isLarge) keepSnapshot(task)
      return snapshot
    },
    fill({ payload, result }) {
      if (task) keepSnapshot({ ...task, payload, result })
    },
    forget() {
      dropSnapshot()
      for (const frame of recent) frames.release(frame)
    },
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
