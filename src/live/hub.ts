/**
 * The hub turns events into the messages of many streams. One per web process.
 *
 * It promises that every stream is told every transition of its task, once and in order, whatever happens to the events,
 * and that it learns of the end within a few seconds at worst. An event is a hint, PostgreSQL decides.
 *
 * The life of a watched task in this process:
 * 1. `find` or `attach` opens its room; from now on events for it are kept.
 * 2. The subscription is acknowledged by the broker. Only then
 * 3. the task is read (reads that arrive together are one query), and the events that came meanwhile are applied on top.
 * 4. Streams get the snapshot, or what they missed, and then each event as it is folded into the room. Watchers who come
 *    later are served from the room, without SQL.
 * 5. The task ends: each stream gets the last transition; when all have it, they are closed with 1000, a few at a time. A second after the last stream has
 *    gone, the room goes too.
 *
 * What goes wrong, and then:
 * - The broker is down, or does not acknowledge within a second: PostgreSQL is read all the same, and the position check,
 *   now every 250 ms, carries the transitions.
 * - Events were lost, doubled, reordered, or too large to be carried: see `room.ts`. The subscription was renewed: all
 *   positions are checked at once, and running tasks read their progress again. Nothing shows that anything was lost: the
 *   position check finds it within 2 s.
 * - PostgreSQL cannot be read: streams stand still, and the position check tries again. Only `find` fails.
 * - A client is slow: see `task-stream.ts`.
 * - The process stops: every stream is closed with 1012 and a pause of its own to wait, so that not all come back at once.
 */
import type { EventBus } from '../broker/broker.js'
import { MAX_UNREAD_MS } from '../protocol/limits.js'
import { CLOSE_CODES, type LogMessage, type TransitionMessage } from '../protocol/stream.js'
import type { Task, TaskId } from '../protocol/task.js'
import { settlesWithin } from '../timing/deadline.js'
import { startInterval } from '../timing/interval.js'
import { limitUnderWay } from '../timing/limit.js'
import { createCloser } from './closer.js'
import { toEventFrame, toFrame } from './frame.js'
import { createHeldFrames } from './held-frames.js'
import { createNoticeBoard, type Notices } from './notices.js'
import { createPositionCheck } from './position-check.js'
import { restartReason } from './restart-reason.js'
import { createRoom, type Log, type Position, type Room, type RoomDeps, type WatchedTask } from './room.js'
import { createSnapshotReader } from './snapshot-reader.js'
import type { Sink, TaskStream } from './task-stream.js'

export type { Sink, TaskStream } from './task-stream.js'

const ACKNOWLEDGE_DEADLINE_MS = 1_000
const DOWN_CHECK_MS = 250
/** A room outlives its last stream by this, so that `find` then `attach`, or a reload of the page, is one read. */
const ROOM_GRACE_MS = 1_000
/** Reads under way at most: together fewer than a pool has connections, because requests need some too. */
const MAX_SNAPSHOT_READS = 2
const MAX_TRANSITION_READS = 4
const MAX_LOG_READS = 2
const MAX_WHOLE_READS = 2
/** What is kept of whole tasks, for all rooms together. */
export const MAX_HELD_FRAME_BYTES = 16 * 1024 * 1024

export interface HubDeps {
  /** The tasks with these ids, in any order; those that do not exist are left out. Large ones come without payload and result. */
  readTasks(ids: TaskId[]): Promise<WatchedTask[]>
  /** The task with this id, whole. */
  readWholeTask(id: TaskId): Promise<Task | undefined>
  /** The transitions after version `since`, oldest first, at most `limit`. */
  readTransitionMessages(id: TaskId, since: number, limit: number): Promise<TransitionMessage[]>
  /** The current version of each of these tasks; those that do not exist are left out. */
  readVersions(ids: TaskId[]): Promise<{ id: TaskId; version: number }[]>
  /** The latest lines that the task has logged, oldest first, at most `limit`. */
  readLatestLogs(id: TaskId, limit: number): Promise<LogMessage[]>
  events: EventBus
  log: Log
  /** How often positions are compared with PostgreSQL, give or take a tenth. Default 2,000; at most 250 while the broker is down. */
  positionCheckMs?: number
  /** A client that takes nothing for this long, while there is something to send, is closed with 4002. Default 30,000. */
  maxStuckMs?: number
}

export interface Hub {
  /** Tells of every change, for lists. */
  readonly notices: Notices
  /** Whether there is such a task; prepares for `attach`. Rejects when PostgreSQL cannot be asked. */
  find(id: TaskId): Promise<boolean>
  /** The task as it is known here, a large one without payload and result; undefined unless `find` has found it or somebody follows it. */
  task(id: TaskId): Task | undefined
  /**
   * Follows a task. Without `since` the stream begins with a snapshot, with it after that version. The sink is closed
   * by the hub when the stream is over; the caller says `stop` when the connection is.
   */
  attach(id: TaskId, position: Position, sink: Sink): TaskStream
  /** Closes every stream with 1012 and stops listening. Idempotent; later calls of `attach` are closed at once. */
  stop(): Promise<void>
  /** How many tasks are watched here, by how many streams; and the bytes of whole tasks that are kept for the next who want them. */
  counts(): { tasks: number; streams: number; heldBytes: number }
}

/** Starts listening for events. Rejects when the event bus cannot be listened to. */
export async function startHub(deps: HubDeps): Promise<Hub> {
  const { log, positionCheckMs = 2_000, maxStuckMs = MAX_UNREAD_MS } = deps
  const rooms = new Map<TaskId, Room>()
  const check = createPositionCheck({ rooms: () => rooms.values(), readVersions: deps.readVersions, load: loadOrLog, drop, log })
  const board = createNoticeBoard(() => subscription, log)
  const subscription = await deps.events.listen({
    onEvent(event, json) {
      const room = rooms.get(event.taskId)
      if (event.type === 'log') room?.acceptLine(toFrame(event, json))
      else room?.accept(toEventFrame(event, json))
    },
    onHint: (id, version) => rooms.get(id)?.moveTo(version),
    onNotices: board.tell,
    onGap() {
      catchUp()
      board.tellOfGap()
    },
  })
  const frames = createHeldFrames(MAX_HELD_FRAME_BYTES)
  const roomDeps: RoomDeps = {
    subscribe,
    readTask: createSnapshotReader(limitUnderWay(MAX_SNAPSHOT_READS, deps.readTasks)),
    readWholeTask: limitUnderWay(MAX_WHOLE_READS, deps.readWholeTask),
    frames,
    readTransitionMessages: limitUnderWay(MAX_TRANSITION_READS, deps.readTransitionMessages),
    readLatestLogs: limitUnderWay(MAX_LOG_READS, deps.readLatestLogs),
    closer: createCloser(),
    log,
    maxStuckMs,
  }
  const ticking = startInterval(tick, {
    everyMs: Math.min(DOWN_CHECK_MS, positionCheckMs),
    isBackground: true,
    onError: (error) => log.warn({ err: error }, 'the watched tasks could not be checked'),
  })
  let nextCheckAtMs = performance.now() + positionCheckMs
  let stopping: Promise<void> | undefined

  /** Resolves with the acknowledgement. While the broker is down there is none to wait for; `onGap` follows it. */
  async function subscribe(id: TaskId): Promise<void> {
    const acknowledged = subscription.subscribe(id).catch((error: unknown) => {
      log.warn({ err: error, taskId: id }, 'the broker did not acknowledge a subscription; PostgreSQL is asked more often')
    })
    if (!subscription.isUp()) return
    await settlesWithin(acknowledged, ACKNOWLEDGE_DEADLINE_MS)
  }

  function roomOf(id: TaskId): Room {
    const known = rooms.get(id)
    if (known) return known
    const room = createRoom(id, roomDeps)
    rooms.set(id, room)
    return room
  }

  async function load(room: Room): Promise<boolean> {
    const isFound = await room.load()
    if (!isFound) drop(room, CLOSE_CODES.notFound, 'there is no such task')
    return isFound
  }

  function loadOrLog(room: Room): Promise<unknown> {
    return load(room).catch((error: unknown) => log.warn({ err: error, taskId: room.id }, 'a watched task could not be read'))
  }

  function drop(room: Room, code: number, reason: string): void {
    if (rooms.get(room.id) !== room) return
    rooms.delete(room.id)
    subscription.unsubscribe(room.id)
    room.closeStreams(code, () => reason)
    room.forget()
  }

  function catchUp(): void {
    void check()
    for (const room of rooms.values()) void room.refreshProgress()
  }

  function tick(): void {
    for (const room of rooms.values()) {
      if (room.idleMs() > ROOM_GRACE_MS) drop(room, CLOSE_CODES.ended, 'nobody is here')
    }
    if (subscription.isUp() && performance.now() < nextCheckAtMs) return
    nextCheckAtMs = performance.now() + positionCheckMs * (0.9 + Math.random() * 0.2)
    void check()
  }

  async function stop(): Promise<void> {
    ticking.stop()
    for (const room of rooms.values()) room.closeStreams(CLOSE_CODES.restart, restartReason)
    rooms.clear()
    await subscription.close()
  }

  return {
    notices: board,
    async find(id) {
      // While stopping, whoever asks is sent elsewhere by `attach`, where the answer will be found.
      return stopping !== undefined || load(roomOf(id))
    },
    task: (id) => rooms.get(id)?.task,
    attach(id, position, sink) {
      if (stopping !== undefined) {
        sink.close(CLOSE_CODES.restart, restartReason())
        return { drained() {}, stop() {} }
      }
      const room = roomOf(id)
      if (room.task === undefined) void loadOrLog(room)
      return room.attach(position, sink)
    },
    stop: () => (stopping ??= stop()),
    counts() {
      let streams = 0
      for (const room of rooms.values()) streams += room.streamCount
      return { tasks: rooms.size, streams, heldBytes: frames.heldBytes }
    },
  }
}
