/** What a room reads besides the task itself. A failing read is logged, and rejected. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Principal } from '../access/principal.js'
import type { LogMessage, TransitionMessage } from '../protocol/stream.js'
import type { TaskId } from '../protocol/task.js'
import { toTransitionRange, type TransitionRange } from './frame.js'

const PAGE_SIZE = 200

export interface RoomReadsOptions {
  deps: {
    readTransitionMessages(principal: Principal, id: TaskId, since: number, limit: number): Promise<TransitionMessage[]>
    readLatestLogs(principal: Principal, id: TaskId, limit: number): Promise<LogMessage[]>
  }
  /** Called once for each page of transitions, before its readers get it. */
  onPage(range: TransitionRange): void
  warn(error: unknown, message: string, more?: { version: number }): void
}

export class RoomReads {
  readonly #principal: Principal
  readonly #id: TaskId
  readonly #options: RoomReadsOptions
  readonly #planned = new Map<number, Promise<TransitionRange>>()

  constructor(principal: Principal, id: TaskId, options: RoomReadsOptions) {
    this.#principal = principal
    this.#id = id
    this.#options = options
  }

  /**
   * Calls in the same turn share a read. A read that has started is not shared: it may miss changes that the caller
   * knows of.
   */
  readAfter(version: number): Promise<TransitionRange> {
    const planned = this.#planned.get(version)
    if (planned) return planned
    const read = nextTurn().then(() => {
      this.#planned.delete(version)
      return this.#readPage(version)
    })
    this.#planned.set(version, read)
    return read
  }

  async readLatestLogs(limit: number): Promise<LogMessage[]> {
    const { deps, warn } = this.#options
    try {
      return await deps.readLatestLogs(this.#principal, this.#id, limit)
    } catch (error) {
      warn(error, 'could not read the log lines of a watched task')
      throw error
    }
  }

  async #readPage(version: number): Promise<TransitionRange> {
    const { deps, onPage, warn } = this.#options
    try {
      const messages = await deps.readTransitionMessages(this.#principal, this.#id, version, PAGE_SIZE)
      const range = toTransitionRange(messages, version)
      onPage(range)
      return range
    } catch (error) {
      warn(error, 'could not read the transitions of a watched task', { version })
      throw error
    }
  }
}
