/** The workers: what needs attention, the queues, and each worker. Read again while the page is visible. */
import { ProblemError } from '../client/requests.js'
import { describeRoughly } from '../format/times.js'
import { createAttention } from '../parts/attention.js'
import { onTick } from '../parts/clock.js'
import { h, setAttribute, setText } from '../parts/dom.js'
import { createPressHold } from '../parts/press-hold.js'
import { createQueueList } from '../parts/queue-list.js'
import { describeFailure } from '../parts/trouble.js'
import { describeState } from '../parts/worker-entry.js'
import { createWorkerList } from '../parts/worker-list.js'
import { pollJson } from '../server/poll.js'
import { workers as text } from '../text/en.js'

export const name = 'workers'
const PERIOD_MS = 2_000
/** A single read that fails is not worth a notice; this age is. */
const STALE_MS = 5_000

export function open(frame) {
  frame.setTitle(text.heading)
  const notice = createNotice()
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
    attention.update(answer)
    queues.update(answer.queues)
    workers.update(items)
    content.hidden = false
  }
  const poll = pollJson('/api/workers', {
    everyMs: PERIOD_MS,
    has: 'typesWithoutWorker',
    onRead(answer) {
      notice.clear()
      hold(() => show(answer))
    },
    onFailure: notice.take,
  })
  /** What was read before is older than this answer. */
  function onDone(worker) {
    items = items.map((item) => (item.id === worker.id ? worker : item))
    workers.update(items)
    frame.announce(text.changed(worker.host, describeState(worker.state)))
    poll.readNow()
  }
  const ends = [onTick(notice.tick), poll.stop]
  return { element, close: () => ends.forEach((end) => end()) }
}

/** Says that the workers are being loaded, or why what is shown is old, and how old. */
function createNotice() {
  const reason = h('span', { role: 'alert' })
  const age = h('span', {}, text.reading)
  const element = h('p', { class: 'notice' }, reason, ' ', age)
  let readAt
  let failure
  const tick = () => {
    const ageMs = readAt === undefined ? Infinity : Date.now() - readAt
    if (failure === undefined || ageMs < STALE_MS) return
    setText(reason, describeReadFailure(failure))
    setText(age, readAt === undefined ? '' : text.lastUpdate(describeRoughly(ageMs)))
    setAttribute(element, 'data-stale', true)
    element.hidden = false
  }
  return {
    element,
    tick,
    clear() {
      readAt = Date.now()
      failure = undefined
      element.hidden = true
      setText(reason, '')
    },
    take(error) {
      failure = error
      tick()
    },
  }
}

/** A server of an earlier version has nothing at this address. */
function describeReadFailure(error) {
  if (error instanceof ProblemError && error.problem.code === 'not_found') return text.notListed
  return text.notRead(describeFailure(error))
}
