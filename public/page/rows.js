/**
 * The rows of the list, keyed by task, changed in place. While the pointer is over them or presses one, nothing moves: rows that would
 * come are held back and counted, rows that would go are marked.
 */
import { createTime } from './clock.js'
import { createBar, createStatus, h, setAttribute, setText } from './dom.js'
import { describeDuration } from './words.js'

export function createRows() {
  const element = h('ol', { class: 'rows', keydown: moveFocus })
  const shown = new Map()
  let latest = []
  let selectedId
  let awaitedId
  let isPressed = false
  let tellHeld = () => {}

  const isHeld = () => isPressed || (shown.size > 0 && element.matches(':hover') && window.matchMedia('(hover: hover)').matches)
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
    if (shown.has(awaitedId) && document.activeElement === document.body) focus(awaitedId)
  }
  /** At once, or when it comes if nothing else has got the focus until then. */
  const focus = (id) => {
    awaitedId = shown.has(id) ? undefined : id
    shown.get(id)?.element.querySelector('a').focus()
  }
  const release = () => {
    if (!isPressed) return
    isPressed = false
    // After the click, which is to meet the row that was pressed.
    setTimeout(() => isHeld() || settle())
  }
  element.addEventListener('pointerleave', () => isPressed || settle())
  element.addEventListener('pointerdown', () => (isPressed = true))
  for (const end of ['pointerup', 'pointercancel']) window.addEventListener(end, release)

  return {
    element,
    settle,
    onHeld: (listener) => (tellHeld = listener),
    show(tasks) {
      latest = tasks
      const wanted = new Set(tasks.map((task) => task.id))
      for (const [id, row] of shown) row.markGone(!wanted.has(id))
      for (const task of tasks) shown.get(task.id)?.update(task)
      if (isHeld()) tellHeld(tasks.filter((task) => !shown.has(task.id)).length)
      else settle()
    },
    clear() {
      latest = []
      settle()
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
    focus,
  }
}

function createRow(first, isSelected) {
  const title = h('span', { class: 'row-title' })
  const status = createStatus(first.status)
  const took = h('span', {})
  const bar = createBar('Progress')
  const gone = h('span', { class: 'row-gone', hidden: true }, 'no longer in this list')
  const link = h(
    'a',
    { class: 'row', href: `#/tasks/${encodeURIComponent(first.id)}` },
    h('span', { class: 'row-line' }, title, status.element),
    h('span', { class: 'row-meta' }, h('span', { class: 'row-type' }, first.type), createTime(first.createdAt), took, gone),
    bar.element,
  )
  let shown
  const update = (task) => {
    if (task === shown) return
    shown = task
    setText(title, task.title)
    setAttribute(title, 'title', task.title)
    status.update(task.status)
    const isRunning = task.status === 'PROCESSING'
    setText(took, task.finishedAt && task.startedAt ? `took ${describeDuration(Date.parse(task.finishedAt) - Date.parse(task.startedAt))}` : '')
    bar.element.hidden = !isRunning
    if (isRunning) bar.update(task.progress?.fraction ?? null, { status: task.status, text: task.progress?.message })
  }
  const markGone = (isGone) => {
    gone.hidden = !isGone
    setAttribute(link, 'data-gone', isGone)
  }
  const select = (isSelected) => setAttribute(link, 'aria-current', isSelected ? 'page' : null)
  update(first)
  select(isSelected)
  return { element: h('li', {}, link), update, markGone, select }
}

/** The arrow keys walk the rows. */
function moveFocus(event) {
  const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key]
  const row = step && event.target.closest('li')?.[step]
  if (!row) return
  event.preventDefault()
  row.querySelector('a')?.focus()
}
