/**
 * The rows of the list, keyed by task and changed in place. While the pointer is over or pressing a row, nothing moves:
 * new rows are held back and counted, removed rows are marked.
 */
import { h, setAttribute } from './dom.js'
import { createRow } from './row.js'

export class Rows {
  element = h('ol', { class: 'rows', keydown: moveFocus })
  #shown = new Map()
  #latest = []
  #selectedId
  #awaited
  #isPressed = false
  #onHeld

  /** @param onHeld receives the number of rows held back, whenever it may have changed */
  constructor({ onHeld }) {
    this.#onHeld = onHeld
    this.element.addEventListener('pointerleave', () => this.#isPressed || this.settle())
    this.element.addEventListener('pointerdown', () => (this.#isPressed = true))
    for (const end of ['pointerup', 'pointercancel']) window.addEventListener(end, () => this.#release())
  }

  show(tasks) {
    this.#latest = tasks
    const wanted = new Set(tasks.map((task) => task.id))
    for (const [id, row] of this.#shown) row.markGone(!wanted.has(id))
    for (const task of tasks) this.#shown.get(task.id)?.update(task)
    if (this.#isHeld()) this.#onHeld(tasks.filter((task) => !this.#shown.has(task.id)).length)
    else this.settle()
  }

  /** Adds and removes the pending rows now. */
  settle() {
    const { element } = this
    element.removeAttribute('aria-busy')
    const wanted = new Set(this.#latest.map((task) => task.id))
    for (const [id, row] of this.#shown) if (!wanted.has(id)) this.#shown.delete(id) && row.element.remove()
    if (this.#shown.size === 0) element.replaceChildren()
    this.#latest.forEach((task, index) => {
      if (!this.#shown.has(task.id)) this.#shown.set(task.id, createRow(task, task.id === this.#selectedId))
      const row = this.#shown.get(task.id).element
      if (element.children[index] !== row) element.insertBefore(row, element.children[index] ?? null)
    })
    this.#onHeld(0)
    if (this.#shown.has(this.#awaited?.id) && document.activeElement === document.body)
      this.focus(this.#awaited.id, this.#awaited.options)
  }

  clear() {
    this.#latest = []
    this.settle()
  }

  showSkeleton(count) {
    this.#latest = []
    this.#shown.clear()
    setAttribute(this.element, 'aria-busy', 'true')
    this.element.replaceChildren(
      ...Array.from({ length: count }, () => h('li', { class: 'skeleton', 'aria-hidden': 'true' })),
    )
  }

  select(id) {
    this.#shown.get(this.#selectedId)?.select(false)
    this.#selectedId = id
    this.#shown.get(id)?.select(true)
  }

  /** Focuses the row at once, or when it appears if nothing else has got the focus by then. */
  focus(id, options) {
    const row = this.#shown.get(id)
    this.#awaited = row ? undefined : { id, options }
    row?.focus(options)
  }

  #isHeld() {
    return (
      this.#isPressed ||
      (this.#shown.size > 0 && this.element.matches(':hover') && window.matchMedia('(hover: hover)').matches)
    )
  }

  #release() {
    if (!this.#isPressed) return
    this.#isPressed = false
    // After the click, so that it hits the row that was pressed.
    setTimeout(() => this.#isHeld() || this.settle())
  }
}

/** The arrow keys move between rows. */
function moveFocus(event) {
  const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key]
  const row = step && event.target.closest('li')?.[step]
  if (!row) return
  event.preventDefault()
  row.querySelector('a')?.focus()
}
