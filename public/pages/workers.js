/** The workers: what needs attention, the queues, and each worker. Read again while the page is visible. */
import { findAttention } from '../format/attention.js'
import { createAttention } from '../parts/attention.js'
import { h } from '../parts/dom.js'
import { createPressHold } from '../parts/press-hold.js'
import { createQueueList } from '../parts/queue-list.js'
import { createReadNotice } from '../parts/read-notice.js'
import { describeState } from '../parts/worker-entry.js'
import { createWorkerList } from '../parts/worker-list.js'
import { getJson } from '../server/api.js'
import { poll } from '../server/poll.js'
import { workers as text } from '../text/en.js'

export const name = 'workers'
const PERIOD_MS = 2_000

export function open(frame) {
  frame.setTitle(text.heading)
  const notice = createReadNotice(text)
  const attention = createAttention(frame.announce)
  const queues = createQueueList()
  const workers = createWorkerList({ onDone })
  const content = h('div', { hidden: true }, attention.element, queues.element, workers.element)
  const element = h(
    'article',
    { class: 'card sheet', 'aria-label': text.heading },
    h('h1', { tabindex: -1 }, text.heading),
    notice.element,
    content,
  )
  const hold = createPressHold(element)
  let items = []

  const show = (answer) => {
    items = answer.items
    attention.update(findAttention(answer))
    queues.update(answer.queues)
    workers.update(items)
    content.hidden = false
  }
  const reading = poll((signal) => getJson('/api/workers', { signal, has: 'typesWithoutWorker' }), {
    everyMs: PERIOD_MS,
    onRead(answer) {
      notice.clear()
      hold(() => show(answer))
    },
    onFailure: notice.take,
  })
  /** The answer about one worker is newer than the last one about all. */
  function onDone(worker) {
    items = items.map((item) => (item.id === worker.id ? worker : item))
    workers.update(items)
    frame.announce(text.changed(worker.host, describeState(worker.state)))
    reading.readNow()
  }
  const ends = [notice.stop, reading.stop]
  return { element, close: () => ends.forEach((end) => end()) }
}
