/**
 * The lists that are watched in this process: one room for each, shared by all its watchers of one tenant, and the
 * resources that rooms share.
 *
 * The number of rooms is limited, and so are the rows in all of them together. A room outlives its last stream by a
 * second, so that a reload of the page needs no read.
 */
import { serviceOf, type Principal } from '../access/principal.js'
import type { TaskFilter } from '../protocol/filter.js'
import { MAX_UNREAD_MS } from '../protocol/limits.js'
import { CLOSE_CODES } from '../protocol/stream.js'
import { startInterval } from '../timing/interval.js'
import { FitRoom, type OnFit } from './fit-room.js'
import { keyOf, type FoundRow, type ListPosition, type ListQuery, type ListReads } from './list-query.js'
import { ListRoom } from './list-room.js'
import type { ListSink } from './list-stream.js'
import { ListTally } from './list-tally.js'
import type { Notices } from './notices.js'
import { restartReason } from './restart-reason.js'
import type { Log } from './room.js'
import type { TaskStream } from './task-stream.js'

const TICK_MS = 250
const ROOM_GRACE_MS = 1_000

export interface ListsDeps {
  notices: Notices
  /**
   * The reads of one room.
   * @param principal the owner of the tasks
   * @param room the room, whose reads take turns with those of others
   */
  readsFor(principal: Principal, room: object): ListReads
  encodeCursor(position: ListPosition): string
  log: Log
  /** The maximum number of watched lists. Default 200. */
  maxRooms?: number
  /** The maximum number of rows in all windows. Default 20,000. */
  maxRows?: number
  /** A client that reads nothing for this long is closed with 4002. Default 30,000. */
  maxStuckMs?: number
}

/** The limit of watched lists in this process is reached. */
export class ListsFullError extends Error {}

export interface OpenList {
  readonly name: string
  /** The rows of the window. */
  readonly size: number
  /** Sends the list, and from then on its changes. Call it at once, or never. */
  follow(sink: ListSink): TaskStream
}

export interface Lists {
  /** Reads a list, or joins its watchers. @throws ListsFullError, and the errors of the read */
  open(principal: Principal, query: ListQuery): Promise<OpenList>
  /** The tasks that match now, newest first. */
  find(principal: Principal, filter: TaskFilter, limit: number): Promise<readonly FoundRow[]>
  /**
   * Reports each task that starts to match, from when the promise has resolved until `stop`. @throws ListsFullError,
   * and the errors of the read
   */
  watchFits(principal: Principal, filter: TaskFilter, onFit: OnFit): Promise<{ stop(): void }>
  /** Closes every stream with 1012. Idempotent. */
  stop(): void
  counts(): { lists: number; rows: number }
}

export function startLists(deps: ListsDeps): Lists {
  const { notices, readsFor, encodeCursor, log, maxRooms = 200, maxRows = 20_000, maxStuckMs = MAX_UNREAD_MS } = deps
  const rooms = new Map<string, ListRoom>()
  const tallies = new Map<string, ListTally>()
  const fits = new Map<string, FitRoom>()
  const asker = {}
  let nameCount = 0
  let isStopped = false

  function roomOf({ tenant }: Principal, query: ListQuery): ListRoom {
    const key = keyOf(tenant, query)
    const known = rooms.get(key)
    if (known !== undefined) return known
    const rows = [...rooms.values()].reduce((sum, room) => sum + room.query.limit, 0)
    if (isStopped || rooms.size >= maxRooms || rows + query.limit > maxRows)
      throw new ListsFullError(`${rooms.size} lists with ${rows} rows are watched`)
    nameCount += 1
    const reads = readsFor(serviceOf(tenant, 'lists'), {})
    const room = new ListRoom(`list-${nameCount}`, tenant, query, {
      reads,
      notices,
      log,
      maxStuckMs,
      encodeCursor,
      watchCounts: (onCounts) => watchCounts(tenant, query.filter, reads, onCounts),
    })
    rooms.set(key, room)
    return room
  }

  /** Lists that differ only in their status or window share the same counts. */
  function watchCounts(tenant: string, { ...filter }: TaskFilter, reads: ListReads, onCounts: () => void) {
    delete filter.status
    const key = keyOf(tenant, { filter, limit: 0 })
    const tally = tallies.get(key) ?? new ListTally(tenant, filter, reads, notices, log)
    tallies.set(key, tally)
    tally.add(onCounts)
    return { counts: () => tally.counts, stop: () => tally.remove(onCounts) }
  }

  function tick(): void {
    for (const [key, room] of rooms) {
      if (room.idleMs() > ROOM_GRACE_MS) {
        rooms.delete(key)
        room.close(CLOSE_CODES.ended, () => 'no watchers are left')
      } else room.tick()
    }
    for (const shared of [tallies, fits]) {
      for (const [key, one] of shared) {
        if (one.isNeeded) one.tick()
        else {
          shared.delete(key)
          one.stop()
        }
      }
    }
  }

  const ticking = startInterval(tick, {
    everyMs: TICK_MS,
    isBackground: true,
    onError: (error) => log.warn({ err: error }, 'could not check the watched lists'),
  })

  return {
    async open(principal, query) {
      const room = roomOf(principal, query)
      await room.enter()
      return { name: room.name, size: room.size, follow: (sink) => room.attach(sink) }
    },
    async find(principal, filter, limit) {
      return (await readsFor(principal, asker).find(filter, { limit })).found
    },
    async watchFits({ tenant }, filter, onFit) {
      const key = keyOf(tenant, { filter, limit: 0 })
      if (!fits.has(key) && fits.size >= maxRooms) throw new ListsFullError(`${fits.size} filters are watched`)
      const room = fits.get(key) ?? new FitRoom(tenant, filter, readsFor(serviceOf(tenant, 'lists'), {}), notices, log)
      fits.set(key, room)
      const stop = () => room.remove(onFit)
      await room.add(onFit).catch((error: unknown) => {
        stop()
        throw error
      })
      return { stop }
    },
    stop() {
      if (isStopped) return
      isStopped = true
      ticking.stop()
      for (const one of [...tallies.values(), ...fits.values()]) one.stop()
      for (const room of rooms.values()) room.close(CLOSE_CODES.restart, restartReason)
      rooms.clear()
    },
    counts: () => ({ lists: rooms.size, rows: [...rooms.values()].reduce((sum, room) => sum + room.size, 0) }),
  }
}
