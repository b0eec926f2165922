/** The progress of a task as a bar. */
import { h, setAttribute } from './dom.js'

/** `update` takes a fraction, null if the task runs without reporting one, and undefined if it does not run. */
export function createBar(label) {
  const fill = h('span', { class: 'fill' })
  const element = h(
    'div',
    { class: 'bar', role: 'progressbar', 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': 100 },
    fill,
  )
  const update = (fraction, { status, text }) => {
    const percent = typeof fraction === 'number' ? Math.round(fraction * 100) : null
    setAttribute(element, 'data-status', status)
    setAttribute(element, 'data-unknown', fraction === null)
    setAttribute(element, 'aria-valuenow', percent ?? (fraction === undefined ? 0 : null))
    setAttribute(element, 'aria-valuetext', text)
    fill.style.width = percent === null ? '' : `${percent}%`
  }
  return { element, update }
}
