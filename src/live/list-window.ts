/**
 * The rows of one list as this process knows them, newest first, and the changes since they were last sent. It knows no
 * SQL and no watchers: rows that were read go in, changes to send come out.
 *
 * `next` is where the tasks after the window begin: null while the window holds all matching tasks.
 */
import type { TaskId, TaskSummary } from '../protocol/task.js'
import { compareIn, type FoundRow, type ListedRow, type ListPosition, type ListQuery } from './list-query.js'

/** The maximum size of a window, in bytes of JSON. A window with very large rows has fewer of them. */
const MAX_WINDOW_BYTES = 2 * 1024 * 1024

export interface Row extends ListedRow {
  readonly json: string
}

export interface WindowChange {
  upsert: Row[]
  remove: TaskId[]
}

export class ListWindow {
  #rows = new Map<TaskId, Row>()
  /** As they were last sent. */
  #told = new Map<TaskId, Row>()
  #limit: number
  #next: ListPosition | null = null
  readonly #before: ListPosition | undefined
  readonly #compare: (a: ListPosition, b: ListPosition) => number

  constructor({ filter, limit, before }: ListQuery) {
    this.#compare = compareIn(filter)
    this.#limit = limit
    this.#before = before
  }

  /** The maximum number of rows. */
  get limit(): number {
    return this.#limit
  }

  get next(): ListPosition | null {
    return this.#next
  }

  get size(): number {
    return this.#rows.size
  }

  task(id: TaskId): TaskSummary | undefined {
    return this.#rows.get(id)?.task
  }

  /** Newest first. */
  rows(): Row[] {
    return [...this.#rows.values()].sort((a, b) => this.#compare(a.task, b.task))
  }

  /** Whether a task at this position would be a row, if it matches. */
  hasPlaceFor(position: ListPosition): boolean {
    if (this.#before !== undefined && this.#compare(position, this.#before) <= 0) return false
    return this.#next === null || this.#compare(position, this.#next) <= 0
  }

  /** Of the tasks found, those to be read: the ones whose current row is not known. */
  unknownOf(found: readonly FoundRow[]): TaskId[] {
    return found.filter(({ id, stamp }) => this.#rows.get(id)?.stamp !== stamp).map(({ id }) => id)
  }

  /**
   * The whole window was found again. `read` are the rows that were unknown; a task missing there no longer matches.
   */
  replace(found: readonly FoundRow[], read: readonly ListedRow[], next: ListPosition | null): void {
    const unknown = new Set(this.unknownOf(found))
    const fresh = new Map(read.map((row) => [row.task.id, this.#toRow(row)]))
    const rows = found.map(({ id }) => (unknown.has(id) ? fresh.get(id) : this.#rows.get(id)))
    this.#rows = new Map(rows.flatMap((row) => (row === undefined ? [] : [[row.task.id, row]])))
    this.#next = next
    this.#cut()
  }

  /**
   * These tasks were read: the matching ones are in `read`. Returns whether rows were removed, so that later tasks may
   * take their place.
   */
  merge(ids: readonly TaskId[], read: readonly ListedRow[]): boolean {
    const fresh = new Map(read.map((row) => [row.task.id, row]))
    const sizeBefore = this.#rows.size
    for (const id of ids) {
      const row = fresh.get(id)
      if (row === undefined || !this.hasPlaceFor(row.task)) this.#rows.delete(id)
      else this.#rows.set(id, this.#toRow(row))
    }
    this.#cut()
    return this.#next !== null && this.#rows.size < Math.min(sizeBefore, this.#limit)
  }

  /** The changes since the last call. */
  takeChange(): WindowChange {
    const upsert = [...this.#rows.values()].filter((row) => this.#told.get(row.task.id)?.json !== row.json)
    const remove = [...this.#told.keys()].filter((id) => !this.#rows.has(id))
    this.#told = new Map(this.#rows)
    return { upsert, remove }
  }

  #toRow(row: ListedRow): Row {
    const known = this.#rows.get(row.task.id)
    const json = JSON.stringify(row.task)
    return known?.json === json ? { ...known, stamp: row.stamp } : { ...row, json }
  }

  #cut(): void {
    let bytes = 0
    for (const { json } of this.#rows.values()) bytes += json.length
    if (this.#rows.size <= this.#limit && bytes <= MAX_WINDOW_BYTES) return
    const rows = this.rows()
    let kept = Math.min(rows.length, this.#limit)
    for (const row of rows.slice(kept)) bytes -= row.json.length
    for (; kept > 1 && bytes > MAX_WINDOW_BYTES; this.#limit = kept) {
      kept -= 1
      bytes -= rows[kept]?.json.length ?? 0
    }
    const last = rows[kept - 1]?.task
    if (last !== undefined) this.#next = { id: last.id, createdAt: last.createdAt }
    this.#rows = new Map(rows.slice(0, kept).map((row) => [row.task.id, row]))
  }
}
