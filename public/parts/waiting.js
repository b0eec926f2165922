/** What a task waits for: a badge for what needs a person, its outlook, and links to the tasks that hold it. */
import { linkTo } from '../addresses.js'
import { describeOutlook } from '../format/waiting.js'
import { waiting as text } from '../text/en.js'
import { createBadge } from './badge.js'
import { h, setAttribute, setText } from './dom.js'
import { createKeyedList } from './keyed-list.js'

const PAUSE = 'M5.500 4v8M10.500 4v8'
const STOP = 'M4.500 4.500h7v7h-7z'
/** One shape for each reason with a badge, 16 by 16. */
const SHAPES = {
  paused: PAUSE,
  sequence_halted: STOP,
  no_worker_for_queue: STOP,
  no_worker_for_type: STOP,
}
/** What is set on the page of limits and pauses. */
const SET_THERE = new Set(['paused', 'limit', 'rate', 'sequence_halted'])

/** @returns `{ badge, element, update(waitingFor, now) }`; `waitingFor` is undefined if the task does not wait */
export function createWaiting() {
  const badge = createBadge()
  const outlook = h('p', { class: 'outlook' })
  const lead = h('span', {})
  const list = h('ul', {})
  const holders = h('div', { class: 'holders' }, lead, list)
  const links = createKeyedList(list, { keyOf: (id) => id, create: createHolder })
  const more = h('p', {}, h('a', { href: linkTo('/limits') }, text.more))
  const element = h('div', { class: 'waiting', hidden: true }, outlook, holders, more)
  badge.element.hidden = true
  return {
    badge: badge.element,
    element,
    update(waitingFor, now) {
      const { code, taskIds = [] } = waitingFor ?? {}
      const shape = SHAPES[code]
      badge.element.hidden = shape === undefined
      setAttribute(badge.element, 'data-waiting', code)
      if (shape !== undefined) badge.update({ shape, word: text.badges[code] })
      setText(outlook, waitingFor === undefined ? '' : describeOutlook(waitingFor, now))
      setText(lead, text.holders[code] ?? text.holdersAny)
      links.update(taskIds)
      outlook.hidden = outlook.textContent === ''
      holders.hidden = taskIds.length === 0
      more.hidden = !SET_THERE.has(code)
      element.hidden = outlook.hidden && holders.hidden && more.hidden
    },
  }
}

function createHolder(id) {
  return { element: h('li', {}, h('a', { href: linkTo('/tasks/', id) }, h('code', {}, id))), update() {} }
}
