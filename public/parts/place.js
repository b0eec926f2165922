/**
 * A place where a value is entered and its errors are shown. Places are identified by the JSON Pointers of their
 * values.
 */
import { sentence } from '../format/schema.js'
import { create as text, fields as fieldsText } from '../text/en.js'
import { h, setAttribute } from './dom.js'

let idCount = 0

/** A labelled control with its help and its error; `read` returns undefined if nothing was entered. */
export function createPlace(control, { label, name, help, pointer, isRequired, places }) {
  const id = `field-${++idCount}`
  control.id = id
  const error = h('div', { class: 'errors', id: `${id}-error`, hidden: true })
  const hint = help ? h('p', { class: 'help', id: `${id}-help` }, help) : null
  const key = name ? h('code', {}, name) : null
  const mark = isRequired ? h('span', { class: 'required' }, fieldsText.required) : null
  setAttribute(control, 'aria-describedby', [hint && hint.id, error.id].filter(Boolean).join(' '))
  setAttribute(control, 'aria-required', isRequired ? 'true' : null)
  places.set(pointer, { control, showErrors: (texts) => showErrors(control, error, texts) })
  const caption = h('label', { for: id }, h('span', {}, label), key, mark)
  const isSwitch = control.type === 'checkbox'
  return h(
    'div',
    { class: isSwitch ? 'field switch' : 'field' },
    isSwitch ? [control, caption] : [caption, control],
    hint,
    error,
  )
}

/** Shows the errors of the value, and opens the collapsed part that it is in; `[]` clears them. */
export function showErrors(control, element, texts) {
  element.replaceChildren(...texts.map((line) => h('p', { class: 'error' }, line)))
  element.hidden = texts.length === 0
  const collapsed = control.closest('details')
  if (texts.length > 0 && collapsed) collapsed.open = true
  setAttribute(control, 'aria-invalid', texts.length > 0 ? 'true' : null)
}

/** Shows each error at its field, or at the nearest enclosing field; the others are listed in the alert. */
export function showProblem({ title = text.cannotSend, detail, fix, errors = [] }, { alert, places }) {
  const homeless = []
  const found = new Map()
  for (const { pointer, detail, fix } of errors) {
    const at = findPlace(places, pointer)
    const words = [sentence(detail), fix].filter(Boolean).join(' ')
    if (at === undefined) homeless.push(`${pointer} ${words}`)
    // In a field with several values: which of them is meant.
    else found.set(at, [...(found.get(at) ?? []), pointer === at ? words : `${pointer.slice(at.length)}: ${words}`])
  }
  for (const [at, texts] of found) places.get(at).showErrors(texts)
  const explanation =
    errors.length > 0 && homeless.length === 0 ? text.seeFields : [detail, fix].filter(Boolean).join(' ')
  alert.replaceChildren(h('strong', {}, title), h('p', {}, explanation), ...homeless.map((line) => h('p', {}, line)))
  alert.hidden = false
  const [first] = [...places.keys()].filter((at) => found.has(at))
  if (first !== undefined) places.get(first).control.focus()
}

/** The place where an error is shown: the pointer of its field, or of an enclosing one. */
function findPlace(places, pointer) {
  for (let at = pointer; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
    if (places.has(at)) return at
  }
  return undefined
}
