/** The rooms of the tasks that are watched in this process, by tenant and id. */
import { serviceOf } from '../access/principal.js'
import { CLOSE_CODES } from '../protocol/stream.js'
import type { TaskId } from '../protocol/task.js'
import { Room, type RoomDeps } from './room.js'

/**
 * How long a room outlives its last stream, so that `find` and then `attach`, or a reload of the page, need only one
 * read.
 */
const ROOM_GRACE_MS = 1_000

export interface TaskRoomsDeps extends RoomDeps {
  /** Events of the task are no longer needed. */
  unsubscribe(id: TaskId): void
}

type RoomKey = `${string} ${TaskId}`

/** Ids have a fixed length, so the keys of two tenants differ whatever their names. */
function keyOfRoom(tenant: string, id: TaskId): RoomKey {
  return `${tenant} ${id}`
}

export class TaskRooms {
  readonly #rooms = new Map<RoomKey, Room>()
  readonly #deps: TaskRoomsDeps

  constructor(deps: TaskRoomsDeps) {
    this.#deps = deps
  }

  [Symbol.iterator](): Iterator<Room> {
    return this.#rooms.values()
  }

  find(tenant: string, id: TaskId): Room | undefined {
    return this.#rooms.get(keyOfRoom(tenant, id))
  }

  /** The room of this task, a new one if there is none yet. */
  open(tenant: string, id: TaskId): Room {
    const known = this.find(tenant, id)
    if (known) return known
    const room = new Room(serviceOf(tenant, 'hub'), id, this.#deps)
    this.#rooms.set(keyOfRoom(tenant, id), room)
    return room
  }

  /** Reads the task of a room. False: there is no such task, and the room is gone. Rejects if the read fails. */
  async load(room: Room): Promise<boolean> {
    const isFound = await room.load()
    if (!isFound) this.drop(room, CLOSE_CODES.notFound, 'there is no such task')
    return isFound
  }

  /** The same, but a failing read is logged. Never rejects. */
  async loadOrLog(room: Room): Promise<void> {
    try {
      await this.load(room)
    } catch (error) {
      this.#deps.log.warn({ err: error, taskId: room.id }, 'could not read a watched task')
    }
  }

  /** Forgets the room and closes its streams. */
  drop(room: Room, code: number, reason: string): void {
    const key = keyOfRoom(room.tenant, room.id)
    if (this.#rooms.get(key) !== room) return
    this.#rooms.delete(key)
    this.#deps.unsubscribe(room.id)
    room.closeStreams(code, () => reason)
    room.forget()
  }

  dropUnused(): void {
    for (const room of this) {
      if (room.idleMs() > ROOM_GRACE_MS) this.drop(room, CLOSE_CODES.ended, 'no watchers are left')
    }
  }

  /** Forgets all rooms and closes their streams. */
  closeAll(code: number, reason: () => string): void {
    for (const room of this) room.closeStreams(code, reason)
    this.#rooms.clear()
  }

  counts(): { tasks: number; streams: number } {
    let streams = 0
    for (const room of this) streams += room.streamCount
    return { tasks: this.#rooms.size, streams }
  }
}
