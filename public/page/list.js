/** The live list: filters, one row for each task, more on demand. What it shows is what the server tells, within a second. */
import { watchList } from './connection.js'
import { h, setText } from './dom.js'
import { createFilters } from './filters.js'
import { createRows } from './rows.js'

const SKELETON_COUNT = 6
const STEP = 50
/** Rows that a list may have. */
const MAX_ROWS = 1_000

/** Fills `root` with the list. The filters live in the address, so a link or a reload keeps them. */
export function startTaskList(root) {
  const rows = createRows()
  const filters = createFilters(() => restart())
  const arrivals = h('button', { type: 'button', class: 'arrivals', hidden: true, click: () => rows.settle() })
  const more = h('button', { type: 'button', class: 'button quiet more', hidden: true, click: () => loadMore() }, 'Load more')
  const limitNote = h('p', { class: 'hint', hidden: true }, `The newest ${MAX_ROWS} are shown: the filters find older ones.`)
  const empty = h('div', { class: 'empty', hidden: true })
  const heading = h('div', { class: 'list-heading' }, h('h2', {}, 'Tasks'), arrivals) // where it moves no row
  let limit = STEP
  let watch
  root.replaceChildren(heading, filters.element, rows.element, empty, more, limitNote)

  rows.onHeld((count) => {
    arrivals.hidden = count === 0
    setText(arrivals, count === 1 ? '1 new task' : `${count} new tasks`)
  })
  const show = ({ items, nextCursor, counts }) => {
    rows.show(items)
    filters.showCounts(counts)
    setText(more, 'Load more')
    more.hidden = nextCursor === null || limit >= MAX_ROWS
    limitNote.hidden = nextCursor === null || limit < MAX_ROWS
    empty.hidden = items.length > 0
    if (items.length === 0) empty.replaceChildren(...describeEmptiness(filters))
  }
  /** What is there stays until the longer list has come. */
  const loadMore = () => {
    limit = Math.min(limit + STEP, MAX_ROWS)
    setText(more, 'Loading…')
    watch.change({ filter: filters.read(), limit })
  }
  const start = () => {
    rows.showSkeleton(SKELETON_COUNT)
    more.hidden = limitNote.hidden = empty.hidden = true
    // A filter that the server would refuse is not asked for.
    if (filters.isWrong()) return show({ items: [], nextCursor: null, counts: null })
    watch = watchList({ filter: filters.read(), limit }, { onChange: ({ view }) => show(view), onConnection: showRefusal })
  }
  const restart = () => {
    watch?.close()
    watch = undefined
    limit = STEP
    start()
  }
  const showRefusal = ({ state, text }) => {
    if (state !== 'stopped') return
    rows.clear()
    empty.hidden = false
    empty.replaceChildren(h('p', { role: 'alert' }, text), h('button', { type: 'button', class: 'button', click: filters.clear }, 'Show all tasks'))
  }
  start()

  return { select: rows.select, focus: rows.focus, setTypes: filters.setTypes }
}

function describeEmptiness(filters) {
  const { status, type } = filters.read()
  const showAll = () => h('button', { type: 'button', class: 'button', click: filters.clear }, 'Show all tasks')
  if (filters.isWrong()) return [h('p', { role: 'alert' }, `There is no status ${status}. Choose one of the list.`), showAll()]
  if (!status && !type) return [h('p', {}, 'No tasks yet.'), h('a', { class: 'button', href: '#/new' }, 'Create the first one')]
  return [h('p', {}, 'No task matches.'), showAll()]
}
