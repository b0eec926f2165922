/** The details of a task, a line each. A line that has not changed keeps its nodes, and with them focus, selection and presses. */
import { createTime, setTime } from './clock.js'
import { h, setText } from './dom.js'
import { typePath } from './types.js'
import { describeInstant } from './words.js'

/** @returns `{ element, update(task) }` */
export function createFacts() {
  const element = h('dl', { class: 'facts' })
  const lines = FACTS.map(([name, kind, read]) => {
    const { element: value, update } = kind()
    return { line: h('div', { hidden: true }, h('dt', {}, name), h('dd', {}, value)), update, read }
  })
  element.append(...lines.map(({ line }) => line))
  const update = (task) => {
    for (const { line, update, read } of lines) {
      const value = read(task)
      line.hidden = value === null || value === undefined || value === ''
      if (!line.hidden) update(value)
    }
  }
  return { element, update }
}

/** Name, kind, and what is shown of the task; nothing where there is nothing. */
const FACTS = [
  ['Type', createLink, ({ type }) => ({ href: typePath(type), text: type })],
  ['Version', createText, ({ version }) => String(version)],
  ['Attempt', createText, ({ attempt }) => String(attempt)],
  ['Created', createMoment, ({ createdAt }) => createdAt],
  ['Runs', createMoment, ({ runAt }) => runAt],
  ['Started', createMoment, ({ startedAt }) => startedAt],
  ['Finished', createMoment, ({ finishedAt }) => finishedAt],
  ['Queue', createText, ({ queue }) => queue],
  ['Priority', createText, ({ priority }) => (priority === 0 ? null : String(priority))],
  ['Expires', createMoment, ({ expiresAt }) => expiresAt],
  ['Unique key', createCode, ({ uniqueKey }) => uniqueKey],
  ['Made by', createLink, ({ parentId }) => parentId && { href: `#/tasks/${parentId}`, text: parentId }],
  ['Batch', createCode, ({ batchId }) => batchId],
  ['Callback', createCode, ({ callbackUrl }) => callbackUrl],
  ['Tags', createText, ({ tags }) => tags.join(', ')],
]

function createText() {
  const element = h('span', {})
  return { element, update: (text) => setText(element, text) }
}

function createCode() {
  const element = h('code', {})
  return { element, update: (text) => setText(element, text) }
}

function createLink() {
  const code = h('code', {})
  const element = h('a', {}, code)
  return {
    element,
    update({ href, text }) {
      element.href = href
      setText(code, text)
    },
  }
}

function createMoment() {
  const time = createTime(new Date(0).toISOString())
  const absolute = h('span', { class: 'absolute' })
  return {
    element: h('span', { class: 'moment' }, time, absolute),
    update(instant) {
      setTime(time, instant)
      setText(absolute, describeInstant(instant))
    },
  }
}
