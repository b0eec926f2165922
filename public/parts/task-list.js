/** The live list: filters, one row for each task, more on request. It is at most about a second behind the server. */
import { linkTo } from '../addresses.js'
import { DEFAULT_LIST_ROWS, MAX_LIST_ROWS } from '../protocol.js'
import { watchList } from '../server/connection.js'
import { whenTypesKnown } from '../server/types.js'
import { list as text } from '../text/en.js'
import { h, setText } from './dom.js'
import { createFilters } from './filters.js'
import { Rows } from './rows.js'

const SKELETON_COUNT = 6

/** Fills `root` with the list. */
export function startTaskList(root) {
  const list = new TaskList(root)
  list.start()
  whenTypesKnown({ onRead: ({ items }) => list.filters.setTypes(items) })
  return list
}

class TaskList {
  filters = createFilters(() => this.#restart())
  #rows = new Rows({ onHeld: (count) => this.#showArrivals(count) })
  #arrivals = h('button', { type: 'button', class: 'arrivals', hidden: true, click: () => this.#rows.settle() })
  #more = h(
    'button',
    { type: 'button', class: 'button quiet more', hidden: true, click: () => this.#loadMore() },
    text.loadMore,
  )
  #limitNote = h('p', { class: 'hint', hidden: true }, text.limit(MAX_LIST_ROWS))
  #empty = h('div', { class: 'empty', hidden: true })
  #limit = DEFAULT_LIST_ROWS
  #watch

  constructor(root) {
    const heading = h('div', { class: 'list-heading' }, h('h2', {}, text.heading), this.#arrivals) // here it moves no row
    root.replaceChildren(heading, this.filters.element, this.#rows.element, this.#empty, this.#more, this.#limitNote)
  }

  start() {
    this.#rows.showSkeleton(SKELETON_COUNT)
    this.#more.hidden = this.#limitNote.hidden = this.#empty.hidden = true
    // A filter that the server would refuse is not sent.
    if (this.filters.isWrong()) return this.#show({ items: [], nextCursor: null, counts: null })
    const list = { filter: this.filters.read(), limit: this.#limit }
    this.#watch = watchList(list, {
      onChange: ({ view }) => this.#show(view),
      onConnection: (connection) => this.#showRefusal(connection),
    })
  }

  select(id) {
    this.#rows.select(id)
  }

  focus(id, options) {
    this.#rows.focus(id, options)
  }

  #restart() {
    this.#watch?.close()
    this.#watch = undefined
    this.#limit = DEFAULT_LIST_ROWS
    this.start()
  }

  #show({ items, nextCursor, counts }) {
    this.#rows.show(items)
    this.filters.showCounts(counts)
    setText(this.#more, text.loadMore)
    this.#more.hidden = nextCursor === null || this.#limit >= MAX_LIST_ROWS
    this.#limitNote.hidden = nextCursor === null || this.#limit < MAX_LIST_ROWS
    this.#empty.hidden = items.length > 0
    if (items.length === 0) this.#empty.replaceChildren(...this.#describeEmptiness())
  }

  /** The current rows stay until the longer list has arrived. */
  #loadMore() {
    this.#limit = Math.min(this.#limit + DEFAULT_LIST_ROWS, MAX_LIST_ROWS)
    setText(this.#more, text.loading)
    this.#watch.change({ filter: this.filters.read(), limit: this.#limit })
  }

  #showArrivals(count) {
    this.#arrivals.hidden = count === 0
    setText(this.#arrivals, text.arrived(count))
  }

  #showRefusal({ state, text: reason }) {
    if (state !== 'stopped') return
    this.#rows.clear()
    this.#empty.hidden = false
    this.#empty.replaceChildren(h('p', { role: 'alert' }, reason), this.#createShowAll())
  }

  #describeEmptiness() {
    const filter = this.filters.read()
    if (this.filters.isWrong()) return [h('p', { role: 'alert' }, text.noStatus(filter.status)), this.#createShowAll()]
    if (Object.keys(filter).length === 0)
      return [h('p', {}, text.empty), h('a', { class: 'button', href: linkTo('/new') }, text.createFirst)]
    return [h('p', {}, text.noMatch), this.#createShowAll()]
  }

  #createShowAll() {
    return h('button', { type: 'button', class: 'button', click: this.filters.clear }, text.showAll)
  }
}
