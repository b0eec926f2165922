/** The live list: filters, one row for each task, more on demand. Rows change in place; none moves under the pointer. */
import { createTime } from './clock.js'
import { createBar, createStatus, h, setAttribute, setText } from './dom.js'
import { startTaskFeed } from './task-feed.js'
import { serverNow } from './api.js'
import { describeDuration, runMsOf } from './words.js'

const STATUSES = ['SCHEDULED', 'WAITING', 'PENDING', 'PROCESSING', 'RETRYING', 'CANCELLING', 'COMPLETED', 'FAILED', 'CANCELLED', 'EXPIRED']
const SKELETON_COUNT = 6

/** Fills `root` with the list. The filters live in the address, so a link or a reload keeps them. */
export function startTaskList(root, { onConnection }) {
  const rows = createRows()
  const filters = createFilters(() => restart())
  const arrivals = h('button', { type: 'button', class: 'arrivals', hidden: true, click: () => rows.settle() })
  const more = h('button', { type: 'button', class: 'button quiet more', hidden: true, click: () => loadMore() }, 'Load more')
  const empty = h('div', { class: 'empty', hidden: true })
  const heading = h('div', { class: 'list-heading' }, h('h2', {}, 'Tasks'), arrivals) // where it moves no row
  root.replaceChildren(heading, filters.element, rows.element, empty, more)

  rows.onHeld((count) => {
    arrivals.hidden = count === 0
    setText(arrivals, count === 1 ? '1 new task' : `${count} new tasks`)
  })
  const show = ({ tasks, hasMore }) => {
    rows.show(tasks)
    more.hidden = !hasMore
    empty.hidden = tasks.length > 0
    if (tasks.length === 0) empty.replaceChildren(...describeEmptiness(filters))
  }
  const loadMore = async () => {
    more.disabled = true
    setText(more, 'Loading…')
    const isLoaded = await feed.loadMore().then(() => true, () => false)
    more.disabled = false
    setText(more, isLoaded ? 'Load more' : 'That did not work: try again')
  }
  const start = () => (filters.isWrong() ? startNothing(show) : startTaskFeed({ ...filters.read(), onTasks: show, onConnection }))
  const restart = () => {
    feed.stop()
    rows.showSkeleton(SKELETON_COUNT)
    feed = start()
  }
  rows.showSkeleton(SKELETON_COUNT)
  let feed = start()

  return {
    select: rows.select,
    focus: rows.focus,
    setTypes: filters.setTypes,
    add(task) {
      feed.add(task)
    },
  }
}

/** For a filter that the server would refuse: an empty list, which says why. */
function startNothing(onTasks) {
  queueMicrotask(() => onTasks({ tasks: [], hasMore: false }))
  return { async loadMore() {}, add() {}, stop() {} }
}

function describeEmptiness(filters) {
  const { status, type } = filters.read()
  if (filters.isWrong()) {
    const text = `There is no status ${status}. Choose one of the list.`
    return [h('p', { role: 'alert' }, text), h('button', { type: 'button', class: 'button', click: filters.clear }, 'Show all tasks')]
  }
  if (!status && !type) return [h('p', {}, 'No tasks yet.'), h('a', { class: 'button', href: '#/new' }, 'Create the first one')]
  return [h('p', {}, 'No task matches.'), h('button', { type: 'button', class: 'button', click: filters.clear }, 'Show all tasks')]
}

function createFilters(onChange) {
  const query = new URLSearchParams(location.search)
  // A value that the address names and nothing can have stays in view, and is told.
  const wrongStatus = STATUSES.includes(query.get('status') ?? STATUSES[0]) ? [] : [query.get('status')]
  const statusSelect = createFilter('Filter by status', 'Any status', [...STATUSES, ...wrongStatus], query.get('status'))
  const typeSelect = createFilter('Filter by type', 'Any type', [query.get('type')].filter(Boolean), query.get('type'))
  const read = () => ({ status: statusSelect.value, type: typeSelect.value })
  const apply = () => {
    const chosen = Object.entries(read()).filter(([, value]) => value !== '')
    const search = new URLSearchParams(chosen).toString()
    history.replaceState(null, '', `${location.pathname}${search && `?${search}`}${location.hash}`)
    onChange()
  }
  statusSelect.addEventListener('change', apply)
  typeSelect.addEventListener('change', apply)
  return {
    element: h('div', { class: 'filters' }, statusSelect, typeSelect),
    read,
    isWrong: () => wrongStatus.includes(statusSelect.value),
    clear() {
      statusSelect.value = typeSelect.value = ''
      apply()
    },
    setTypes(types) {
      const known = new Set([...typeSelect.options].map((option) => option.value))
      typeSelect.append(...types.filter(({ type }) => !known.has(type)).map(({ type }) => h('option', { value: type }, type)))
    },
  }
}

function createFilter(label, any, values, chosen) {
  const options = values.map((value) => h('option', { value, selected: value === chosen }, value))
  return h('select', { 'aria-label': label }, h('option', { value: '' }, any), options)
}

/** The rows, keyed by task. While the pointer is over them, rows that would come or go are held back and counted. */
function createRows() {
  const element = h('ol', { class: 'rows', keydown: moveFocus })
  const shown = new Map()
  let latest = []
  let selectedId
  let tellHeld = () => {}

  const settle = () => {
    element.removeAttribute('aria-busy')
    const wanted = new Set(latest.map((task) => task.id))
    for (const [id, row] of shown) if (!wanted.has(id)) shown.delete(id) && row.element.remove()
    if (shown.size === 0) element.replaceChildren()
    latest.forEach((task, index) => {
      if (!shown.has(task.id)) shown.set(task.id, createRow(task, task.id === selectedId))
      const row = shown.get(task.id).element
      if (element.children[index] !== row) element.insertBefore(row, element.children[index] ?? null)
    })
    tellHeld(0)
  }
  const isUnderPointer = () => shown.size > 0 && element.matches(':hover') && window.matchMedia('(hover: hover)').matches
  element.addEventListener('pointerleave', settle)

  return {
    element,
    settle,
    onHeld: (listener) => (tellHeld = listener),
    show(tasks) {
      latest = tasks
      for (const task of tasks) shown.get(task.id)?.update(task)
      if (isUnderPointer()) tellHeld(tasks.filter((task) => !shown.has(task.id)).length)
      else settle()
    },
    showSkeleton(count) {
      latest = []
      shown.clear()
      setAttribute(element, 'aria-busy', 'true')
      element.replaceChildren(...Array.from({ length: count }, () => h('li', { class: 'skeleton', 'aria-hidden': 'true' })))
    },
    select(id) {
      shown.get(selectedId)?.select(false)
      selectedId = id
      shown.get(id)?.select(true)
    },
    focus: (id) => shown.get(id)?.element.querySelector('a').focus(),
  }
}

function createRow(task, isSelected) {
  const title = h('span', { class: 'row-title' })
  const status = createStatus(task.status)
  const took = h('span', {})
  const bar = createBar('Progress')
  const link = h(
    'a',
    { class: 'row', href: `#/tasks/${encodeURIComponent(task.id)}` },
    h('span', { class: 'row-line' }, title, status.element),
    h('span', { class: 'row-meta' }, h('span', { class: 'row-type' }, task.type), createTime(task.createdAt), took),
    bar.element,
  )
  const update = (task) => {
    setText(title, task.title)
    setAttribute(title, 'title', task.title)
    status.update(task.status)
    const isRunning = task.status === 'PROCESSING'
    setText(took, task.finishedAt && task.startedAt ? `took ${describeDuration(runMsOf(task, serverNow()))}` : '')
    bar.element.hidden = !isRunning
    if (isRunning) bar.update(task.progress?.fraction ?? null, { status: task.status, text: task.progress?.message })
  }
  const select = (isSelected) => setAttribute(link, 'aria-current', isSelected ? 'page' : null)
  update(task)
  select(isSelected)
  return { element: h('li', {}, link), update, select }
}

/** The arrow keys walk the rows. */
function moveFocus(event) {
  const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key]
  const row = step && event.target.closest('li')?.[step]
  if (!row) return
  event.preventDefault()
  row.querySelector('a')?.focus()
}
