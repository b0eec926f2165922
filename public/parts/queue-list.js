/** The queues over all workers: how full they are, who serves them, and whether tasks wait. */
import { workers as text } from '../text/en.js'
import { h, setAttribute, setText } from './dom.js'
import { createGauge } from './gauge.js'
import { createKeyedList } from './keyed-list.js'

/** @returns `{ element, update(queues) }` */
export function createQueueList() {
  const list = h('ul', { class: 'queues' })
  const element = h('section', {}, h('h2', {}, text.queues), list)
  const entries = createKeyedList(list, { keyOf: ({ name }) => name, create: createQueue })
  return {
    element,
    update(queues) {
      entries.update(queues)
      element.hidden = queues.length === 0
    },
  }
}

function createQueue({ name }) {
  const gauge = createGauge()
  const workers = h('span', { class: 'queue-workers' })
  const waiting = h('span', { class: 'queue-waiting' })
  const element = h('li', {}, h('span', { class: 'queue-name' }, name), gauge.elements, workers, waiting)
  return {
    element,
    update(queue) {
      gauge.update(queue)
      setText(workers, text.workerCount(queue.workers))
      setText(waiting, queue.hasWaiting ? text.waiting : '')
      setAttribute(element, 'data-unserved', queue.workers === 0)
    },
  }
}
