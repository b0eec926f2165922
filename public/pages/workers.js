/** The workers: what needs attention, the queues, and each worker. Read again while the page is visible. */
import { findAttention } from '../format/attention.js'
import { createAttention } from '../parts/attention.js'
import { createPolledSheet } from '../parts/polled-sheet.js'
import { createQueueList } from '../parts/queue-list.js'
import { describeState } from '../parts/worker-entry.js'
import { createWorkerList } from '../parts/worker-list.js'
import { getJson } from '../server/api.js'
import { workers as text } from '../text/en.js'

export const name = 'workers'

export function open(frame) {
  frame.setTitle(text.heading)
  const attention = createAttention(frame.announce)
  const queues = createQueueList()
  const workers = createWorkerList({ onDone })
  let items = []
  const { element, readNow, close } = createPolledSheet({
    text,
    content: [attention.element, queues.element, workers.element],
    read: (signal) => getJson('/api/workers', { signal, has: 'typesWithoutWorker' }),
    show(answer) {
      items = answer.items
      attention.update(findAttention(answer))
      queues.update(answer.queues)
      workers.update(items)
    },
  })
  /** The answer about one worker is newer than the last one about all. */
  function onDone(worker) {
    items = items.map((item) => (item.id === worker.id ? worker : item))
    workers.update(items)
    frame.announce(text.changed(worker.host, describeState(worker.state)))
    readNow()
  }
  return { element, close }
}
