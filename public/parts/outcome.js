/** The outcome of a task: its failure and its result, once they exist. */
import { task as text } from '../text/en.js'
import { createJson } from './code.js'
import { h, setText } from './dom.js'

/** @returns `{ element, update(task) }` */
export function createOutcome() {
  const element = h('div', { class: 'outcome' })
  const shown = {}
  const keep = (name, value, create) => {
    if (value === null || value === undefined) {
      shown[name]?.element.remove()
      delete shown[name]
      return
    }
    if (!shown[name]) element.append((shown[name] = create(value)).element)
    shown[name].update(value)
  }
  return {
    element,
    update({ failure, result }) {
      keep('failure', failure, createFailure)
      keep('result', result, (value) => createJson(text.result, value))
    },
  }
}

function createFailure() {
  const message = h('pre', { tabindex: 0, role: 'region', 'aria-label': text.failureMessage })
  const note = h('p', {})
  return {
    element: h('section', { class: 'failure', 'aria-label': text.failure }, h('h2', {}, text.failure), message, note),
    update(failure) {
      setText(message, failure.message)
      setText(note, text.failureNote(failure.code, failure.attempt))
    },
  }
}
