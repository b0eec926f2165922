/**
 * The messages of one list: the whole list at its current revision, and the latest changes that led there. Each is
 * serialised once for all receivers.
 */
import type { ListChangeMessage, ListCounts, ListMessage } from '../protocol/list.js'
import type { ListFrame, ListSource } from './list-stream.js'
import type { ListWindow, Row } from './list-window.js'

/** Changes kept for streams that are visited in portions. */
const MAX_RECENT_CHANGES = 4

/** What a list says beside its rows. */
export interface ListStanding {
  nextCursor: string | null
  newer: number
  counts: ListCounts | null
}

export class ListMessages implements ListSource {
  revision = 0
  readonly #list: string
  readonly #window: ListWindow
  readonly #standing: () => ListStanding
  #told: { nextCursor: string | null; newer: number; counts: string } = { nextCursor: null, newer: 0, counts: 'null' }
  #recent: ListFrame[] = []
  #whole: ListFrame | undefined

  /** @param list its name, for clients */
  constructor(list: string, window: ListWindow, standing: () => ListStanding) {
    this.#list = list
    this.#window = window
    this.#standing = standing
  }

  listFrame(): ListFrame {
    if (this.#whole?.message.revision === this.revision) return this.#whole
    const rows = this.#window.rows()
    const head = { type: 'list', list: this.#list, revision: this.revision } as const
    const standing = this.#standing()
    const message: ListMessage = { ...head, items: rows.map(({ task }) => task), ...standing }
    const json = `${JSON.stringify(head).slice(0, -1)},"items":${joinRows(rows)},${JSON.stringify(standing).slice(1)}`
    this.#whole = toListFrame(message, json)
    return this.#whole
  }

  changeFrame(revision: number): ListFrame | undefined {
    return this.#recent.find(({ message }) => message.revision === revision)
  }

  /**
   * Turns the changes since the last call into the next revision. False: nothing has changed. The first call makes a
   * revision even of an empty list.
   */
  takeChange(): boolean {
    const { upsert, remove } = this.#window.takeChange()
    const before = this.#told
    const { nextCursor, newer, counts } = this.#standing()
    this.#told = { nextCursor, newer, counts: JSON.stringify(counts) }
    const rest = {
      ...(remove.length > 0 && { remove }),
      ...(nextCursor !== before.nextCursor && { nextCursor }),
      ...(newer !== before.newer && { newer }),
      ...(this.#told.counts !== before.counts && { counts }),
    }
    if (this.revision > 0 && upsert.length === 0 && Object.keys(rest).length === 0) return false
    this.revision += 1
    const head = { type: 'change', list: this.#list, revision: this.revision } as const
    const message: ListChangeMessage = {
      ...head,
      ...(upsert.length > 0 && { upsert: upsert.map(({ task }) => task) }),
      ...rest,
    }
    const json = JSON.stringify({ ...head, ...rest })
    const frame = toListFrame(message, upsert.length > 0 ? `${json.slice(0, -1)},"upsert":${joinRows(upsert)}}` : json)
    this.#recent = [...this.#recent, frame].slice(-MAX_RECENT_CHANGES)
    return true
  }
}

const joinRows = (rows: readonly Row[]) => `[${rows.map(({ json }) => json).join()}]`

function toListFrame(message: ListFrame['message'], json: string): ListFrame {
  return { message, json, bytes: Buffer.byteLength(json) }
}
