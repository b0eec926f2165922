/** A worker in the list: its state, how full it is, what it serves, and the button that drains it. */
import { serverNow } from '../server/api.js'
import { describeHeartbeat } from '../format/times.js'
import { isBlank } from '../format/title.js'
import { workers as text } from '../text/en.js'
import { createBadge } from './badge.js'
import { createTime, setTime } from './clock.js'
import { createCopyButton } from './copy-button.js'
import { h, setAttribute, setText } from './dom.js'
import { createDrainControl } from './drain-control.js'
import { createGauge } from './gauge.js'

/** One shape for each state, 16 by 16. */
const STATE_SHAPES = {
  running: 'M5 3.500v9l7.500-4.500z',
  draining: 'M8 2.500v7.500M4.800 7l3.200 3.200L11.200 7M3.500 13.500h9',
  drained: 'M5.500 4v8M10.500 4v8',
  stopping: 'M4.500 4.500h7v7h-7z',
  lost: 'M4 4l8 8M12 4l-8 8',
}
const UNKNOWN_SHAPE = 'M8 2.500a5.500 5.500 0 1 0 0 11a5.500 5.500 0 0 0 0-11'

/** The name of a state; for one that only a newer server knows, that of the API. */
export const describeState = (state) => text.states[state] ?? state

/**
 * @param onDone receives the worker after it was drained or resumed
 * @returns `{ element, update(worker) }`
 */
export function createWorkerEntry(first, { onDone }) {
  const { id, host } = first
  const name = h('h3', { tabindex: -1 }, h('bdi', {}, host))
  const badge = createBadge()
  const control = createDrainControl(first, { onDone })
  const standing = h('p', { class: 'worker-standing' })
  const request = createDrainRequest()
  const gauge = createGauge()
  const facts = createWorkerFacts(first)
  const element = h(
    'li',
    { class: 'worker' },
    h('div', { class: 'worker-head' }, h('div', { class: 'worker-name' }, name, badge.element), control.buttons),
    control.panel,
    standing,
    request.element,
    h('p', { class: 'worker-load' }, gauge.elements),
    facts.element,
    h(
      'p',
      { class: 'id' },
      h('code', {}, id),
      createCopyButton(() => id, text.copyId(host)),
    ),
  )
  const update = (worker) => {
    const { state, running, queues } = worker
    setAttribute(element, 'data-worker-state', state)
    badge.update({ shape: STATE_SHAPES[state] ?? UNKNOWN_SHAPE, word: describeState(state) })
    setText(standing, text.standings[state] ?? '')
    request.update(worker.drain)
    const slots = queues.reduce((sum, queue) => sum + queue.slots, 0)
    gauge.update({ running, slots }, state === 'lost' ? text.ranLast : text.running)
    facts.update(worker)
    if (!control.update(worker)) name.focus()
  }
  return { element, update }
}

/** Who asked the worker to drain, when and why. The names and reasons of others may be written right to left. */
function createDrainRequest() {
  const by = h('bdi', {})
  const time = createTime(new Date(0).toISOString())
  const colon = h('span', {}, ': ')
  const reason = h('bdi', {})
  const element = h('p', { class: 'worker-drain', hidden: true }, text.drainedBy, by, ' ', time, colon, reason)
  return {
    element,
    update(drain) {
      element.hidden = !drain
      if (!drain) return
      setText(by, drain.by)
      if (time.dateTime !== drain.at) setTime(time, drain.at)
      const hasReason = typeof drain.reason === 'string'
      colon.hidden = !hasReason
      setText(reason, hasReason ? (isBlank(drain.reason) ? text.blankReason : drain.reason) : '')
    },
  }
}

/** The age of the heartbeat is that at the time of the answer: while none arrives, it is unknown. */
function createWorkerFacts({ pid, version, startedAt }) {
  const names = text.facts
  const queues = h('dd', {})
  const heartbeat = h('dd', {})
  const element = h(
    'dl',
    { class: 'worker-facts' },
    h('div', {}, h('dt', {}, names.queues), queues),
    h('div', {}, h('dt', {}, names.heartbeat), heartbeat),
    h('div', {}, h('dt', {}, names.started), h('dd', {}, createTime(startedAt))),
    h('div', {}, h('dt', {}, names.pid), h('dd', {}, String(pid))),
    h('div', {}, h('dt', {}, names.version), h('dd', {}, version)),
  )
  return {
    element,
    update(worker) {
      setText(queues, describeQueues(worker.queues))
      setText(heartbeat, describeHeartbeat(worker.seenAt, serverNow()))
    },
  }
}

/** With a single queue the numbers are those of the worker. */
function describeQueues(queues) {
  return queues.length === 1 ? queues[0].name : queues.map(text.queueRunning).join(', ')
}
