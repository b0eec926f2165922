/**
 * The lists that are watched in this process: one room for each, shared by all its watchers of one tenant; and the
 * filters whose new matches are watched.
 *
 * The number of rooms is limited, and so are the rows in all of them together.
 */
import { serviceOf, type Principal } from '../access/principal.js'
import type { TaskFilter } from '../protocol/filter.js'
import { MAX_UNREAD_MS } from '../protocol/limits.js'
import { CLOSE_CODES } from '../protocol/stream.js'
import { startInterval } from '../timing/interval.js'
import { FitRoom, type OnFit } from './fit-room.js'
import { keyOf, type FoundRow, type ListQuery } from './list-query.js'
import { ListRooms, ListsFullError, type ListRoomsDeps } from './list-rooms.js'
import type { ListSink } from './list-stream.js'
import { restartReason } from './restart-reason.js'
import type { TaskStream } from './task-stream.js'

const TICK_MS = 250

export interface ListsDeps extends Omit<ListRoomsDeps, 'maxRooms' | 'maxRows' | 'maxStuckMs'> {
  /** The maximum number of watched lists. Default 200. */
  maxRooms?: number
  /** The maximum number of rows in all windows. Default 20,000. */
  maxRows?: number
  /** A client that reads nothing for this long is closed with 4002. Default 30,000. */
  maxStuckMs?: number
}

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

export function startLists({
  maxRooms = 200,
  maxRows = 20_000,
  maxStuckMs = MAX_UNREAD_MS,
  ...deps
}: ListsDeps): Lists {
  const { notices, readsFor, log } = deps
  const rooms = new ListRooms({ ...deps, maxRooms, maxRows, maxStuckMs })
  const fits = new Map<string, FitRoom>()
  const asker = {}
  let isStopped = false

  function tick(): void {
    rooms.tick()
    for (const [key, room] of fits) {
      if (room.isNeeded) room.tick()
      else {
        fits.delete(key)
        room.stop()
      }
    }
  }

  const ticking = startInterval(tick, {
    everyMs: TICK_MS,
    isBackground: true,
    onError: (error) => log.warn({ err: error }, 'could not check the watched lists'),
  })

  return {
    async open({ tenant }, query) {
      if (isStopped) throw new ListsFullError('the process stops')
      const room = rooms.open(tenant, query)
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
      for (const room of fits.values()) room.stop()
      rooms.closeAll(CLOSE_CODES.restart, restartReason)
    },
    counts: () => rooms.counts(),
  }
}
