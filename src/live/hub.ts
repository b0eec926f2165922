/**
 * The hub turns events into the messages of many streams. There is one per web process.
 *
 * It guarantees that every stream receives every transition of its task, once and in order, whatever happens to the
 * events, and that it receives the end within a few seconds at worst. An event is a hint; PostgreSQL decides.
 *
 * The life of a watched task in this process:
 * 1. `find` or `attach` opens its room; from now on events for it are kept.
 * 2. The broker acknowledges the subscription. Only then
 * 3. the task is read (concurrent reads share one query), and the events that arrived meanwhile are applied to it.
 * 4. Streams receive the snapshot, or the transitions they missed, and then each event as it is folded into the room.
 *    Later watchers are served from the room, without SQL.
 *    As long as the task waits, they are told what it waits for: see `waiting-check.ts`.
 * 5. The task ends: each stream receives the last transition; when all have it, they are closed with 1000, a few at a
 *    time. The room is removed a second after its last stream.
 *
 * Failures:
 * - The broker is down, or does not acknowledge within a second: PostgreSQL is read anyway, and the position check, now
 *   every 250 ms, delivers the transitions.
 * - Events were lost, duplicated, reordered, or too large to be carried: see `room.ts`. After a renewed subscription,
 *   all positions are checked at once, and running tasks read their progress again. If events are lost without a trace,
 *   the position check finds it within 2 s.
 * - PostgreSQL cannot be read: streams pause, and the position check tries again. Only `find` fails.
 * - A client is slow: see `task-stream.ts`.
 * - A client asks for a task of another tenant: rooms are keyed by tenant and id, and read on behalf of their tenant. A
 *   room for another tenant's task finds no task and receives no event.
 * - The process stops: every stream is closed with 1012 and a random delay, so that clients do not all reconnect at
 *   once.
 */
import { tenantOf, type Principal } from '../access/principal.js'
import type { EventBus } from '../broker/broker.js'
import { MAX_UNREAD_MS } from '../protocol/limits.js'
import { CLOSE_CODES, type LogMessage, type TransitionMessage } from '../protocol/stream.js'
import type { Task, TaskId } from '../protocol/task.js'
import { settlesWithin } from '../timing/deadline.js'
import { startInterval } from '../timing/interval.js'
import { limitUnderWay } from '../timing/limit.js'
import { createCloser } from './closer.js'
import { isLine, toEventFrame } from './frame.js'
import { createHeldFrames } from './held-frames.js'
import { createNoticeBoard, type Notices } from './notices.js'
import { createPositionCheck } from './position-check.js'
import { restartReason } from './restart-reason.js'
import type { Log, Position, WatchedTask } from './room.js'
import { createSnapshotReader } from './snapshot-reader.js'
import { TaskRooms } from './task-rooms.js'
import type { Sink, TaskStream } from './task-stream.js'
import { createWaitingCheck, type WaitingCheckDeps } from './waiting-check.js'

export type { Sink, TaskStream } from './task-stream.js'

const ACKNOWLEDGE_DEADLINE_MS = 1_000
const DOWN_CHECK_MS = 250
/** The maximum number of concurrent reads: fewer than the connections of a pool, because requests need some too. */
const MAX_SNAPSHOT_READS = 2
const MAX_TRANSITION_READS = 4
const MAX_LOG_READS = 2
const MAX_WHOLE_READS = 2
/** The maximum size of cached whole tasks, for all rooms together. */
export const MAX_HELD_FRAME_BYTES = 16 * 1024 * 1024

export interface HubDeps {
  /**
   * The tasks with these ids, in any order; missing tasks and those of other tenants are left out. Large ones come
   * without payload and result.
   */
  readTasks(principal: Principal, ids: TaskId[]): Promise<WatchedTask[]>
  /** The whole task with this id. */
  readWholeTask(principal: Principal, id: TaskId): Promise<Task | undefined>
  /** The transitions after version `since`, oldest first, at most `limit`. */
  readTransitionMessages(principal: Principal, id: TaskId, since: number, limit: number): Promise<TransitionMessage[]>
  /** Tenant and current version of each of these tasks; missing tasks are left out. */
  readVersions(ids: TaskId[]): Promise<{ id: TaskId; tenant: string; version: number }[]>
  /** The latest log lines of the task, oldest first, at most `limit`. */
  readLatestLogs(principal: Principal, id: TaskId, limit: number): Promise<LogMessage[]>
  /** What each of these tasks, at most 200, waits for; those that do not wait are left out. */
  readWaits: WaitingCheckDeps['readWaits']
  events: EventBus
  log: Log
  /**
   * The interval of comparisons with PostgreSQL, plus or minus a tenth. Default 2,000; at most 250 while the broker is
   * down.
   */
  positionCheckMs?: number
  /** How often watchers of a waiting task learn what it waits for, if that has changed. Default 2,000. */
  waitingCheckMs?: number
  /**
   * A client that reads nothing for this long, while there is something to send, is closed with 4002. Default 30,000.
   */
  maxStuckMs?: number
}

export interface Hub {
  /** Reports every change, for lists. */
  readonly notices: Notices
  /** Whether the task exists for this principal; prepares for `attach`. Rejects if PostgreSQL cannot be queried. */
  find(principal: Principal, id: TaskId): Promise<boolean>
  /**
   * The task as it is known here, a large one without payload and result; undefined unless `find` has found it or a
   * stream follows it.
   */
  task(principal: Principal, id: TaskId): Task | undefined
  /**
   * Follows a task. Without `since` the stream starts with a snapshot, with it after that version. The hub closes the
   * sink when the stream is over; the caller calls `stop` when the connection is.
   */
  attach(principal: Principal, id: TaskId, position: Position, sink: Sink): TaskStream
  /**
   * Closes every stream with 1012 and stops listening. Idempotent; streams of later `attach` calls are closed at once.
   */
  stop(): Promise<void>
  /** How many tasks are watched here, by how many streams; and the size of the cached whole tasks. */
  counts(): { tasks: number; streams: number; heldBytes: number }
}

function limitReads(deps: HubDeps) {
  return {
    readTask: createSnapshotReader(limitUnderWay(MAX_SNAPSHOT_READS, deps.readTasks)),
    readWholeTask: limitUnderWay(MAX_WHOLE_READS, deps.readWholeTask),
    readTransitionMessages: limitUnderWay(MAX_TRANSITION_READS, deps.readTransitionMessages),
    readLatestLogs: limitUnderWay(MAX_LOG_READS, deps.readLatestLogs),
  }
}

/** Starts listening for events. Rejects if it cannot listen on the event bus. */
export async function startHub(deps: HubDeps): Promise<Hub> {
  const { log, positionCheckMs = 2_000, waitingCheckMs = 2_000, maxStuckMs = MAX_UNREAD_MS } = deps
  const frames = createHeldFrames(MAX_HELD_FRAME_BYTES)
  const rooms = new TaskRooms({
    subscribe,
    unsubscribe: (id) => subscription.unsubscribe(id),
    ...limitReads(deps),
    frames,
    closer: createCloser(),
    log,
    maxStuckMs,
  })
  const check = createPositionCheck({ rooms, readVersions: deps.readVersions, log })
  const checkWaits = createWaitingCheck({ rooms, readWaits: deps.readWaits, everyMs: waitingCheckMs, log })
  const board = createNoticeBoard(() => subscription, log)
  const subscription = await deps.events.listen({
    onEvent(event, json) {
      const room = rooms.find(tenantOf(event), event.taskId)
      if (room === undefined) return
      const frame = toEventFrame(event, json)
      if (isLine(frame)) room.acceptLine(frame)
      else room.accept(frame)
    },
    onHint: (id, version, tenant) => rooms.find(tenantOf({ tenant }), id)?.moveTo(version),
    onNotices: board.tell,
    onGap() {
      void check()
      for (const room of rooms) void room.refreshProgress()
      board.tellOfGap()
    },
  })
  const ticking = startInterval(tick, {
    everyMs: Math.min(DOWN_CHECK_MS, positionCheckMs, waitingCheckMs),
    isBackground: true,
    onError: (error) => log.warn({ err: error }, 'could not check the watched tasks'),
  })
  let nextCheckAtMs = performance.now() + positionCheckMs
  let stopping: Promise<void> | undefined

  /**
   * Resolves with the acknowledgement. While the broker is down there is none to wait for; `onGap` is called when it is
   * back.
   */
  async function subscribe(id: TaskId): Promise<void> {
    const acknowledged = subscription.subscribe(id).catch((error: unknown) => {
      log.warn(
        { err: error, taskId: id },
        'the broker did not acknowledge a subscription; polling PostgreSQL more often',
      )
    })
    if (!subscription.isUp()) return
    await settlesWithin(acknowledged, ACKNOWLEDGE_DEADLINE_MS)
  }

  function tick(): void {
    rooms.dropUnused()
    void checkWaits()
    if (subscription.isUp() && performance.now() < nextCheckAtMs) return
    nextCheckAtMs = performance.now() + positionCheckMs * (0.9 + Math.random() * 0.2)
    void check()
  }

  async function stop(): Promise<void> {
    ticking.stop()
    rooms.closeAll(CLOSE_CODES.restart, restartReason)
    await subscription.close()
  }

  return {
    notices: board,
    async find({ tenant }, id) {
      // While stopping, `attach` sends every client to another process, which will have the answer.
      return stopping !== undefined || rooms.load(rooms.open(tenant, id))
    },
    task: ({ tenant }, id) => rooms.find(tenant, id)?.task,
    attach({ tenant }, id, position, sink) {
      if (stopping !== undefined) {
        sink.close(CLOSE_CODES.restart, restartReason())
        return { drained() {}, stop() {} }
      }
      const room = rooms.open(tenant, id)
      if (room.task === undefined) void rooms.loadOrLog(room)
      return room.attach(position, sink)
    },
    stop: () => (stopping ??= stop()),
    counts: () => ({ ...rooms.counts(), heldBytes: frames.heldBytes }),
  }
}
