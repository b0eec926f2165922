/**
 * The hub: turns one event into a message for every stream that follows its task. One a web process.
 *
 * Promise: whatever the broker loses, repeats or reorders, every stream gets every transition once, in order.
 *
 * How a room comes to be: it is entered in the map, so that events find it → the broker acknowledges the subscription →
 * the snapshot is read → events that came meanwhile are folded over it. In that order no change can fall between. Who
 * comes later to a room is served from memory.
 *
 * What may go wrong, and what mends it:
 * - The broker does not acknowledge: the room opens all the same, and the position check keeps it moving.
 * - An event is lost and a later one arrives: a gap, read from the history.
 * - An event is lost and none follows, above all the last: the position check finds it, one query for all rooms, every
 *   two seconds, or four times a second while the broker's connection is down.
 * - The broker's connection was away: one position check as soon as the subscriptions stand again.
 * - The snapshot cannot be read: `find` rejects, a stream is closed with 1013, and the next watcher tries again.
 */
import { CLOSE_CODES, type TransitionMessage } from '../protocol/stream.js'
import type { Task, TaskId } from '../protocol/task.js'
import type { EventBus } from '../broker/broker.js'
import { Room } from './room.js'
import type { Sink } from './sink.js'
import { createSnapshotReader } from './snapshot-reader.js'
import { TaskStream } from './task-stream.js'

export interface HubDeps {
  /** The tasks with these ids; ids that do not exist are left out. */
  readTasks(ids: TaskId[]): Promise<Task[]>
  /** The transitions after version `since`, oldest first, at most `limit`. */
  readTransitionMessages(id: TaskId, since: number, limit: number): Promise<TransitionMessage[]>
  /** The current version of each of these tasks. */
  readVersions(ids: TaskId[]): Promise<{ id: TaskId; version: number }[]>
  events: Pick<EventBus, 'listen'>
  log: { warn(details: object, message: string): void }
  /** The pause between two position checks. Default 2,000, and 250 while the broker's connection is down. */
  positionCheckMs?: number
}

export interface Hub {
  /** Whether there is such a task. Opens its room, so that `attach` soon after needs no read. */
  find(id: TaskId): Promise<boolean>
  /** Follows a task. @param since the last version the watcher has, when it resumes */
  attach(id: TaskId, sink: Sink, since?: number): AttachedStream
  countStreams(): number
  /** Tells every watcher to reconnect. Idempotent. */
  stop(): Promise<void>
}

/** What the transport tells a stream. */
export interface AttachedStream {
  /** The socket has room again. */
  drained(): void
  /** The connection is gone. Idempotent. */
  stop(): void
}

const POSITION_CHECK_MS = { usual: 2_000, down: 250 }
/** How long a room outlives its last stream. */
const ROOM_GRACE_MS = 1_000
const SWEEP_MS = 1_000
/** Watchers come back over this time after a stop, not all at once. */
const RECONNECT_SPREAD_MS = 2_000

export async function startHub(deps: HubDeps): Promise<Hub> {
  const { readVersions, log } = deps
  const rooms = new Map<TaskId, { room: Room; opened: Promise<boolean> }>()
  const snapshots = createSnapshotReader(deps.readTasks)
  let isStopping = false
  let isChecking = false
  let checkedAtMs = performance.now()

  const subscription = await deps.events.listen({
    onEvent: (event, json) => rooms.get(event.taskId)?.room.receive(event, json),
    onHint: (taskId, version) => rooms.get(taskId)?.room.reach(version),
    onGap: () => void checkPositions(),
  })

  function enter(id: TaskId): { room: Room; opened: Promise<boolean> } {
    const known = rooms.get(id)
    if (known !== undefined) return known
    const room = new Room(id, deps)
    const entry = { room, opened: open(room) }
    rooms.set(id, entry)
    entry.opened.catch(() => leave(room))
    return entry
  }

  async function open(room: Room): Promise<boolean> {
    const acknowledged = subscription.subscribe(room.id).catch((error: unknown) => {
      log.warn({ err: error, taskId: room.id }, 'the broker did not take a subscription; position checks stand in')
    })
    // While its connection is down there is nothing to wait for: `onGap` follows when it is back.
    if (subscription.isUp()) await acknowledged
    const task = await snapshots.read(room.id)
    room.idleSinceMs = performance.now()
    if (task !== undefined) room.open(task)
    return task !== undefined
  }

  function leave(room: Room): void {
    if (rooms.get(room.id)?.room !== room) return
    rooms.delete(room.id)
    subscription.unsubscribe(room.id)
  }

  /** Compares every room with PostgreSQL. Never rejects. */
  async function checkPositions(): Promise<void> {
    if (isChecking) return
    isChecking = true
    checkedAtMs = performance.now()
    try {
      const ids = [...rooms.values()].filter(({ room }) => room.isOpen && !room.isFinal).map(({ room }) => room.id)
      if (ids.length === 0) return
      for (const { id, version } of await readVersions(ids)) rooms.get(id)?.room.reach(version)
    } catch (error) {
      log.warn({ err: error }, 'positions were not checked')
    } finally {
      isChecking = false
    }
  }

  function sweep(): void {
    const nowMs = performance.now()
    for (const { room } of rooms.values()) {
      for (const stream of room.streams) stream.closeIfStalled(nowMs)
      if (room.streams.size === 0 && nowMs - room.idleSinceMs > ROOM_GRACE_MS) leave(room)
    }
  }

  async function begin(stream: TaskStream, opened: Promise<boolean>, since: number | undefined): Promise<void> {
    try {
      if (await opened) await stream.start(since)
      else stream.close(CLOSE_CODES.notFound, 'there is no such task')
    } catch (error) {
      log.warn({ err: error }, 'a stream could not start')
      stream.close(CLOSE_CODES.overload, 'the task could not be read')
    }
  }

  const checking = setInterval(() => {
    const pauseMs = subscription.isUp() ? (deps.positionCheckMs ?? POSITION_CHECK_MS.usual) : POSITION_CHECK_MS.down
    if (performance.now() - checkedAtMs >= pauseMs) void checkPositions()
  }, Math.min(deps.positionCheckMs ?? POSITION_CHECK_MS.down, POSITION_CHECK_MS.down))
  const sweeping = setInterval(sweep, SWEEP_MS)

  return {
    async find(id) {
      return enter(id).opened
    },
    attach(id, sink, since) {
      const { room, opened } = enter(id)
      const stream = new TaskStream(room, sink)
      room.streams.add(stream)
      if (isStopping) closeForRestart(stream)
      else void begin(stream, opened, since)
      return stream
    },
    countStreams: () => [...rooms.values()].reduce((sum, { room }) => sum + room.streams.size, 0),
    async stop() {
      if (isStopping) return
      isStopping = true
      clearInterval(checking)
      clearInterval(sweeping)
      for (const { room } of rooms.values()) for (const stream of room.streams) closeForRestart(stream)
      rooms.clear()
      await subscription.close()
    },
  }
}

function closeForRestart(stream: TaskStream): void {
  stream.close(CLOSE_CODES.restart, `retryAfterMs=${Math.floor(Math.random() * RECONNECT_SPREAD_MS)}`)
}
