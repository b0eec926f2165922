/** The rooms of the lists that are watched in this process, and the counts that several of them share. */
import { serviceOf, type Principal } from '../access/principal.js'
import type { TaskFilter } from '../protocol/filter.js'
import { CLOSE_CODES } from '../protocol/stream.js'
import { keyOf, type ListQuery, type ListReads } from './list-query.js'
import { ListRoom, type ListRoomDeps } from './list-room.js'
import { ListTally } from './list-tally.js'

/** How long a room outlives its last stream, so that a reload of the page needs no read. */
const ROOM_GRACE_MS = 1_000

/** The limit of watched lists in this process is reached. */
export class ListsFullError extends Error {}

export interface ListRoomsDeps extends Omit<ListRoomDeps, 'reads' | 'watchCounts'> {
  /**
   * The reads of one room.
   * @param principal the owner of the tasks
   * @param room the room, whose reads take turns with those of others
   */
  readsFor(principal: Principal, room: object): ListReads
  maxRooms: number
  maxRows: number
}

export class ListRooms {
  readonly #rooms = new Map<string, ListRoom>()
  readonly #tallies = new Map<string, ListTally>()
  readonly #deps: ListRoomsDeps
  #nameCount = 0

  constructor(deps: ListRoomsDeps) {
    this.#deps = deps
  }

  /** The room of this list, a new one if there is none yet. @throws ListsFullError */
  open(tenant: string, query: ListQuery): ListRoom {
    const key = keyOf(tenant, query)
    const known = this.#rooms.get(key)
    if (known !== undefined) return known
    this.#assertSpace(query.limit)
    this.#nameCount += 1
    const reads = this.#deps.readsFor(serviceOf(tenant, 'lists'), {})
    const room = new ListRoom(`list-${this.#nameCount}`, tenant, query, {
      ...this.#deps,
      reads,
      watchCounts: (onCounts) => this.#watchCounts(tenant, query.filter, reads, onCounts),
    })
    this.#rooms.set(key, room)
    return room
  }

  /** Call it a few times a second. */
  tick(): void {
    for (const [key, room] of this.#rooms) {
      if (room.idleMs() > ROOM_GRACE_MS) {
        this.#rooms.delete(key)
        room.close(CLOSE_CODES.ended, () => 'no watchers are left')
      } else room.tick()
    }
    for (const [key, tally] of this.#tallies) {
      if (tally.isNeeded) tally.tick()
      else {
        this.#tallies.delete(key)
        tally.stop()
      }
    }
  }

  /** Forgets all rooms and closes their streams. */
  closeAll(code: number, reason: () => string): void {
    for (const tally of this.#tallies.values()) tally.stop()
    for (const room of this.#rooms.values()) room.close(code, reason)
    this.#rooms.clear()
  }

  counts(): { lists: number; rows: number } {
    return { lists: this.#rooms.size, rows: this.#sum((room) => room.size) }
  }

  #assertSpace(rows: number): void {
    const { maxRooms, maxRows } = this.#deps
    const watchedRows = this.#sum((room) => room.query.limit)
    if (this.#rooms.size >= maxRooms || watchedRows + rows > maxRows)
      throw new ListsFullError(`${this.#rooms.size} lists with ${watchedRows} rows are watched`)
  }

  #sum(rowsOf: (room: ListRoom) => number): number {
    return [...this.#rooms.values()].reduce((sum, room) => sum + rowsOf(room), 0)
  }

  /** Lists that differ only in their status or window share the same counts. */
  #watchCounts(tenant: string, { ...filter }: TaskFilter, reads: ListReads, onCounts: () => void) {
    delete filter.status
    const key = keyOf(tenant, { filter, limit: 0 })
    const tally = this.#tallies.get(key) ?? new ListTally(tenant, filter, reads, this.#deps.notices, this.#deps.log)
    this.#tallies.set(key, tally)
    tally.add(onCounts)
    return { counts: () => tally.counts, stop: () => tally.remove(onCounts) }
  }
}
