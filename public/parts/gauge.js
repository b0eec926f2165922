/** How many slots are in use: a bar, and the same in words, which is what screen readers get. */
import { workers as text } from '../text/en.js'
import { h, setAttribute, setText } from './dom.js'

/** @returns `{ elements, update({ running, slots }, describe) }` */
export function createGauge() {
  const fill = h('span', { class: 'fill' })
  const bar = h('span', { class: 'bar gauge', 'aria-hidden': 'true' }, fill)
  const words = h('span', { class: 'gauge-text' })
  return {
    elements: [bar, words],
    update({ running, slots }, describe = text.running) {
      const share = slots > 0 ? Math.min(1, running / slots) : 0
      setAttribute(bar, 'data-empty', slots === 0)
      fill.style.width = `${Math.round(share * 100)}%`
      setText(words, describe(running, slots))
    },
  }
}
