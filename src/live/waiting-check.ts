/**
 * Tells the watchers of waiting tasks what they wait for.
 *
 * One query for all of them every two seconds, and one at the next tick for tasks that have just begun to wait or to be
 * watched: most tasks have started by then. A query is about at most 200 tasks: first those never asked about, then
 * those asked about longest ago. So the cost does not grow with the number of watchers. A failing query is logged; the
 * next one tries again.
 */
import { awaitsAttempt } from '../protocol/status.js'
import type { TaskId } from '../protocol/task.js'
import type { WaitingFor } from '../protocol/waiting.js'
import type { Log, Room } from './room.js'
import type { TaskRooms } from './task-rooms.js'

/** The most tasks of one query. */
const MAX_ASKED = 200

export interface WaitingCheckDeps {
  rooms: TaskRooms
  /** What each of these tasks waits for, and the version for which that holds; those that do not wait are left out. */
  readWaits(
    tasks: { id: TaskId; tenant: string }[],
  ): Promise<{ id: TaskId; tenant: string; version: number; waitingFor: WaitingFor }[]>
  everyMs: number
  log: Log
}

/** Returns the check, to be called often: it asks when it is time. Never rejects. */
export function createWaitingCheck({ rooms, readWaits, everyMs, log }: WaitingCheckDeps): () => Promise<void> {
  let isRunning = false

  /** By the time of the last question. */
  function findDue(): Room[] {
    const nowMs = performance.now()
    const waiting = [...rooms].filter((room) => room.streamCount > 0 && room.task && awaitsAttempt(room.task.status))
    const unasked = waiting.filter((room) => room.waiting.askedAtMs === undefined)
    if (unasked.length >= MAX_ASKED) return unasked.slice(0, MAX_ASKED)
    const due = waiting.filter(({ waiting: { askedAtMs } }) => askedAtMs !== undefined && nowMs - askedAtMs >= everyMs)
    due.sort((a, b) => (a.waiting.askedAtMs ?? 0) - (b.waiting.askedAtMs ?? 0))
    return [...unasked, ...due].slice(0, MAX_ASKED)
  }

  async function askOnce(due: readonly Room[]): Promise<void> {
    const nowMs = performance.now()
    for (const room of due) room.waiting.askedAtMs = nowMs
    const rows = await readWaits(due.map(({ id, tenant }) => ({ id, tenant })))
    for (const { id, tenant, version, waitingFor } of rows) {
      const room = rooms.find(tenant, id)
      // Of another version: the task has moved, and is asked about again when the room knows it.
      if (room?.task?.version === version) room.explain(waitingFor)
    }
  }

  return async function check() {
    if (isRunning) return
    const due = findDue()
    if (due.length === 0) return
    isRunning = true
    try {
      await askOnce(due)
    } catch (error) {
      log.warn({ err: error }, 'could not read what the watched tasks wait for')
    } finally {
      isRunning = false
    }
  }
}
