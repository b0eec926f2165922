/**
 * The details of a task, one line each. A line that has not changed keeps its nodes, and with them focus, selection and
 * clicks.
 */
import { linkTo } from '../addresses.js'
import { describeInstant } from '../format/times.js'
import { facts as text } from '../text/en.js'
import { createTime, setTime } from './clock.js'
import { h, setText } from './dom.js'

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
      line.hidden = value === null || value === undefined || value === false || value === ''
      if (!line.hidden) update(value)
    }
  }
  return { element, update }
}

/** The name, the kind, and the value of the task to show; the line is omitted if the value is empty. */
const FACTS = [
  [text.type, createLink, ({ type }) => ({ href: linkTo('/types/', type), label: type })],
  [text.version, createText, ({ version }) => String(version)],
  [text.attempt, createText, ({ attempt }) => String(attempt)],
  [text.created, createMoment, ({ createdAt }) => createdAt],
  [text.runs, createMoment, ({ runAt }) => runAt],
  [text.started, createMoment, ({ startedAt }) => startedAt],
  [text.finished, createMoment, ({ finishedAt }) => finishedAt],
  [text.queue, createText, ({ queue }) => queue],
  [text.priority, createText, ({ priority }) => (priority === 0 ? null : String(priority))],
  [text.expires, createMoment, ({ expiresAt }) => expiresAt],
  [text.uniqueKey, createCode, ({ uniqueKey }) => uniqueKey],
  [text.concurrencyKey, createCode, ({ concurrencyKey }) => concurrencyKey],
  [text.sequenceKey, createCode, ({ sequenceKey }) => sequenceKey],
  [text.onFailure, createText, ({ onFailure }) => onFailure === 'skip' && text.skip],
  [text.cost, createText, ({ cost }) => (cost === 1 ? null : String(cost))],
  [text.madeBy, createLink, ({ parentId }) => parentId && { href: linkTo('/tasks/', parentId), label: parentId }],
  [text.batch, createCode, ({ batchId }) => batchId],
  [text.callback, createCode, ({ callbackUrl }) => callbackUrl],
  [text.tags, createTexts, ({ tags }) => (tags.length === 0 ? null : tags)],
]

function createText() {
  const element = h('span', {})
  return { element, update: (value) => setText(element, value) }
}

/** Several texts, isolated from each other: one may be written right to left, or change the direction of text. */
function createTexts() {
  const element = h('span', {})
  return {
    element,
    update(values) {
      if (JSON.stringify([...element.children].map(({ textContent }) => textContent)) === JSON.stringify(values)) return
      element.replaceChildren(
        ...values.flatMap((value, index) => (index === 0 ? [h('bdi', {}, value)] : [', ', h('bdi', {}, value)])),
      )
    },
  }
}

function createCode() {
  const element = h('code', {})
  return { element, update: (value) => setText(element, value) }
}

function createLink() {
  const code = h('code', {})
  const element = h('a', {}, code)
  return {
    element,
    update({ href, label }) {
      element.href = href
      setText(code, label)
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
