/**
 * One watched task in this process: its folded state, the latest frames, and the streams that follow it.
 *
 * Promise: `task` only moves forward, one version at a time, and every version it moves through is offered to every
 * stream. Each stream has a cursor of its own, so the order in which streams are served does not matter.
 *
 * - An event that does not continue the state (a gap) is not applied; the versions between are read from the history.
 *   Reads are coalesced: one at a time, repeated while they bring something.
 * - A read that fails is logged and left to the next position check.
 * - Events that arrive before the snapshot was read are kept and folded over it.
 */
import { fold } from '../protocol/fold.js'
import { isFinal, type Status } from '../protocol/status.js'
import type { Event, SnapshotMessage, TransitionMessage } from '../protocol/stream.js'
import type { Task, TaskId } from '../protocol/task.js'
import type { HubDeps } from './hub.js'
import type { TaskStream } from './task-stream.js'

/** A transition as it is sent: serialised once for all streams. */
export interface Frame {
  version: number
  status: Status
  text: string
}

/** Frames kept for streams that are a little behind. */
const RECENT_FRAMES = 32
/** Transitions read at a time. */
export const PAGE_SIZE = 200
/** Above so many streams a change is handed out in portions, so that others get their turn. */
const MAX_STREAMS_AT_ONCE = 1_000
const PORTION = 250

export class Room {
  readonly streams = new Set<TaskStream>()
  /** When the last stream left, on the monotonic clock; not before the room was opened. */
  idleSinceMs = Number.POSITIVE_INFINITY
  /** The latest progress of the current version, and how many there have been. */
  progress: { text: string; count: number } = { text: '', count: 0 }
  private current: Task | undefined
  private early: { event: Event; json: string }[] = []
  private recent: Frame[] = []
  private snapshotText = ''
  private refilling: Promise<void> | undefined

  constructor(
    readonly id: TaskId,
    private readonly deps: Pick<HubDeps, 'readTransitionMessages' | 'log'>,
  ) {}

  /** The task as this process knows it. Only after `open`. */
  get task(): Task {
    if (this.current === undefined) throw new Error(`room ${this.id} is not open`)
    return this.current
  }

  get isOpen(): boolean {
    return this.current !== undefined
  }

  get isFinal(): boolean {
    return this.current !== undefined && isFinal(this.current.status)
  }

  /** Starts from a snapshot, and folds what arrived while it was read. */
  open(task: Task): void {
    this.current = task
    for (const { event, json } of this.early.splice(0)) this.receive(event, json)
  }

  /** An event of this task, and its JSON. */
  receive(event: Event, json: string): void {
    if (this.current === undefined) {
      this.early.push({ event, json })
      return
    }
    const { task, outcome } = fold(this.current, event)
    if (outcome === 'gap') void this.refill()
    if (outcome !== 'applied' || task === undefined) return
    this.current = task
    this.snapshotText = ''
    if (event.type === 'transition') this.keep(event, json)
    else this.progress = { text: json, count: this.progress.count + 1 }
    this.serve()
  }

  /** Makes sure that the state is at `version`, or beyond. */
  reach(version: number): void {
    if (this.current !== undefined && version > this.current.version) void this.refill()
  }

  /** Reads what the state lacks, until there is nothing more. Never rejects. */
  refill(): Promise<void> {
    return (this.refilling ??= this.readMissing().finally(() => (this.refilling = undefined)))
  }

  /** The snapshot message of the current state. */
  snapshotFrame(): string {
    this.snapshotText ||= JSON.stringify(snapshotOf(this.task))
    return this.snapshotText
  }

  resetFrame(): string {
    return JSON.stringify({ ...snapshotOf(this.task), reset: true } satisfies SnapshotMessage)
  }

  /** The transition after this version, when it is among the latest. */
  recentFrameAfter(version: number): Frame | undefined {
    const first = this.recent[0]?.version
    return first === undefined ? undefined : this.recent[version + 1 - first]
  }

  /** The transitions after this version, from the history. */
  async readFramesAfter(version: number, limit = PAGE_SIZE): Promise<Frame[]> {
    return (await this.deps.readTransitionMessages(this.id, version, limit)).map(toFrame)
  }

  private async readMissing(): Promise<void> {
    try {
      for (;;) {
        const messages = await this.deps.readTransitionMessages(this.id, this.task.version, PAGE_SIZE)
        const before = this.task.version
        for (const message of messages) this.receiveStored(message)
        if (messages.length < PAGE_SIZE || this.task.version === before) return
      }
    } catch (error) {
      this.deps.log.warn({ err: error, taskId: this.id }, 'missed transitions were not read; the next position check tries again')
    }
  }

  /** As `receive`, but a gap in the history itself leads nowhere. */
  private receiveStored(message: TransitionMessage): void {
    if (message.version <= this.task.version + 1) this.receive(message, JSON.stringify(message))
  }

  private keep(message: TransitionMessage, json: string): void {
    this.recent.push({ version: message.version, status: message.status, text: json })
    if (this.recent.length > RECENT_FRAMES) this.recent.shift()
    this.progress = { text: '', count: this.progress.count }
  }

  private serve(): void {
    if (this.streams.size <= MAX_STREAMS_AT_ONCE) {
      for (const stream of this.streams) stream.pump()
      return
    }
    const streams = [...this.streams]
    for (let start = 0; start < streams.length; start += PORTION) {
      setImmediate(() => streams.slice(start, start + PORTION).forEach((stream) => stream.pump()))
    }
  }
}

function snapshotOf(task: Task): SnapshotMessage {
  return { type: 'snapshot', taskId: task.id, status: task.status, version: task.version, task }
}

function toFrame(message: TransitionMessage): Frame {
  return { version: message.version, status: message.status, text: JSON.stringify(message) }
}
