/**
 * The tasks that one connection follows. A task that several subscriptions select has a single stream, which ends when
 * the last of them drops it.
 *
 * A task is followed again only at a version later than the last one sent: notices and listings may be late.
 */
import type { Principal } from '../access/principal.js'
import type { TaskFilter } from '../protocol/filter.js'
import { CLOSE_CODES, type StreamMessage } from '../protocol/stream.js'
import type { TaskId } from '../protocol/task.js'
import type { Hub, Sink, TaskStream } from './hub.js'
import { OpenStreams } from './open-streams.js'

/** The maximum number of tasks whose last sent version is remembered. Above it the oldest are forgotten. */
const MAX_REMEMBERED = 20_000

export interface FollowedTasksDeps {
  principal: Principal
  hub: Pick<Hub, 'attach'>
  sink: Pick<Sink, 'send' | 'bufferedBytes'>
  /** There is room for another task. */
  onFreed(): void
  /** The stream of a task has ended. */
  onEnded(): void
  /** A stream was closed because this process cannot continue it. */
  onBroken(code: number, reason: string): void
}

/** A subscription that selects tasks. It drops a task that no longer has the status of its filter. */
export interface Follower {
  /** Undefined: it keeps its tasks until they end. */
  readonly filter: TaskFilter | undefined
}

interface Followed {
  stream: TaskStream | undefined
  readonly followers: Set<Follower>
}

export class FollowedTasks extends OpenStreams<TaskId, Followed> {
  readonly #deps: FollowedTasksDeps
  /** The last version sent for each task, as far as it is remembered. */
  readonly #told = new Map<TaskId, number>()

  constructor(deps: FollowedTasksDeps) {
    super()
    this.#deps = deps
  }

  /** Whether this version of the task was not sent yet. */
  isNews(id: TaskId, version: number): boolean {
    return version > (this.#told.get(id) ?? 0)
  }

  /** Takes this version of the task, and all before, as sent. */
  remember(id: TaskId, version: number): void {
    this.#told.delete(id)
    this.#told.set(id, version)
    if (this.#told.size <= MAX_REMEMBERED) return
    for (const oldest of this.#told.keys()) {
      this.#told.delete(oldest)
      break
    }
  }

  /** Follows the task after version `since`, or joins the others that follow it. */
  follow(id: TaskId, follower: Follower, since?: number): void {
    const known = this.entries.get(id)
    if (known) {
      known.followers.add(follower)
      return
    }
    const { principal, hub, sink } = this.#deps
    const entry: Followed = { stream: undefined, followers: new Set([follower]) }
    this.entries.set(id, entry)
    const stream = hub.attach(
      principal,
      id,
      { since },
      {
        send: (json, message) => {
          sink.send(json, message)
          if (message) this.#letGo(id, entry, message)
        },
        bufferedBytes: () => sink.bufferedBytes(),
        close: (code, reason) => this.#onClosed(id, entry, code, reason),
      },
    )
    entry.stream = stream
    // The stream may already be over: the task has ended, or no longer matches.
    if (this.entries.get(id) !== entry) stream.stop()
  }

  /** Ends the streams that only this follower wanted. */
  dropAll(follower: Follower): void {
    for (const [id, entry] of this.entries) if (entry.followers.has(follower)) this.#drop(id, entry, follower)
  }

  /** The message may be the last about this task for these followers. */
  #letGo(id: TaskId, entry: Followed, { status, version }: StreamMessage): void {
    this.remember(id, version)
    for (const follower of entry.followers) {
      const wanted = follower.filter?.status
      if (wanted !== undefined && wanted !== status) this.#drop(id, entry, follower)
    }
  }

  #drop(id: TaskId, entry: Followed, follower: Follower): void {
    entry.followers.delete(follower)
    if (entry.followers.size > 0) return
    this.entries.delete(id)
    entry.stream?.stop()
    this.#deps.onFreed()
  }

  #onClosed(id: TaskId, entry: Followed, code: number, reason: string): void {
    if (this.entries.get(id) === entry) this.entries.delete(id)
    if (code !== CLOSE_CODES.ended && code !== CLOSE_CODES.notFound) return this.#deps.onBroken(code, reason)
    this.#deps.onFreed()
    this.#deps.onEnded()
  }
}
