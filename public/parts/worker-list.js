/** The workers, in the order of the server. */
import { workers as text } from '../text/en.js'
import { h, setText } from './dom.js'
import { createKeyedList } from './keyed-list.js'
import { createWorkerEntry, describeState } from './worker-entry.js'

/**
 * @param onDone receives a worker after it was drained or resumed
 * @returns `{ element, update(items) }`
 */
export function createWorkerList({ onDone }) {
  const heading = h('h2', { tabindex: -1 }, text.list)
  const counts = h('span', { class: 'hint' })
  const list = h('ul', { class: 'workers' })
  const element = h('section', { hidden: true }, h('div', { class: 'heading workers-heading' }, heading, counts), list)
  const entries = createKeyedList(list, {
    keyOf: ({ id }) => id,
    create: (worker) => createWorkerEntry(worker, { onDone }),
    onRemove: (entry) => entry.contains(document.activeElement) && heading.focus(),
  })
  return {
    element,
    update(items) {
      entries.update(items)
      setText(counts, describeCounts(items))
      element.hidden = items.length === 0
    },
  }
}

/** `3 running, 1 lost`: in the order of the states, those of a newer server last. */
function describeCounts(items) {
  const states = [...new Set([...Object.keys(text.states), ...items.map(({ state }) => state)])]
  return states
    .map((state) => [items.filter((item) => item.state === state).length, describeState(state)])
    .filter(([count]) => count > 0)
    .map(([count, state]) => text.stateCount(count, state))
    .join(', ')
}
