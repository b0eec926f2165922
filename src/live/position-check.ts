/**
 * Compares every watched task with PostgreSQL, in one query.
 *
 * Events can be lost, and a lost event shows only when a later one arrives. The final event has none after it: without
 * this check its watchers would wait forever. The check also delivers every change while the broker is down, and
 * retries whatever failed.
 *
 * 1. A task that has not been read yet (its first read failed) is read.
 * 2. The versions of all tasks that have not ended are read. Newer than ours: the room refills. Older than ours was
 *    before the query: the database has gone back (a standby without the last commits took over), and the clients are
 *    told to reconnect (4001). Missing, or another tenant's: the streams are closed for good (4504).
 * 3. Every stream retries what it waited for.
 *
 * A failing query is logged; the next check tries again.
 */
import { isFinal } from '../protocol/status.js'
import { CLOSE_CODES } from '../protocol/stream.js'
import type { TaskId } from '../protocol/task.js'
import type { Log, Room } from './room.js'
import type { TaskRooms } from './task-rooms.js'

export interface PositionCheckDeps {
  rooms: TaskRooms
  readVersions(ids: TaskId[]): Promise<{ id: TaskId; tenant: string; version: number }[]>
  log: Log
}

/** Returns the check. One runs at a time; a call during a run starts one more run after it. Never rejects. */
export function createPositionCheck(deps: PositionCheckDeps): () => Promise<void> {
  let running: Promise<void> | undefined
  let isAskedAgain = false

  async function run(): Promise<void> {
    do {
      isAskedAgain = false
      await checkOnce(deps).catch((error: unknown) => {
        deps.log.warn({ err: error }, 'could not read the positions of the watched tasks')
      })
    } while (isAskedAgain)
    running = undefined
  }

  return function check() {
    if (running) isAskedAgain = true
    else running = run()
    return running
  }
}

async function checkOnce({ rooms, readVersions }: PositionCheckDeps): Promise<void> {
  const watched = new Map<Room, number>()
  for (const room of rooms) {
    if (room.task === undefined) void rooms.loadOrLog(room)
    else if (!isFinal(room.task.status)) watched.set(room, room.task.version)
  }
  const rows = watched.size > 0 ? await readVersions([...watched.keys()].map((room) => room.id)) : []
  const stored = new Map(rows.map((row) => [row.id, row]))
  for (const [room, versionBefore] of watched) {
    const { tenant, version } = stored.get(room.id) ?? {}
    if (version === undefined || tenant !== room.tenant)
      rooms.drop(room, CLOSE_CODES.notFound, 'the task no longer exists')
    else if (version < versionBefore) rooms.drop(room, CLOSE_CODES.positionLost, 'the position is lost')
    else room.moveTo(version)
  }
  for (const room of rooms) room.tend()
}
