/**
 * The payload forms, one for each type, created when the type is first selected. Each keeps its contents; a field that
 * another type has too starts with the last text entered.
 */
import { h } from './dom.js'
import { createFields } from './fields.js'

/** @returns `{ element, places, show(type), read(violations) }`; `places` are those of the visible form */
export function createPayloadForms() {
  const element = h('div', { class: 'payload' })
  const forms = new Map()
  let shown
  return {
    element,
    get places() {
      return shown?.places ?? new Map()
    },
    read: (violations) => shown.read(violations),
    show({ type, payload }) {
      const before = shown
      shown = forms.get(type) ?? createForm(payload)
      forms.set(type, shown)
      if (before !== undefined && before !== shown) carryOver(before.places, shown.places)
      element.replaceChildren(...shown.elements)
    },
  }
}

function createForm(schema) {
  const places = new Map()
  const isObject = schema.properties !== undefined
  // A payload that is not an object with members is one JSON value: a field called `payload`.
  const members = isObject
    ? createFields(schema, '/payload', places)
    : createFields({ properties: { payload: schema } }, '', places)
  return {
    places,
    elements: members.elements,
    read: (violations) => (isObject ? members.read(violations) : members.read(violations).payload),
  }
}

/** Only into fields that have not been filled in. */
function carryOver(from, to) {
  for (const [pointer, { control }] of to) {
    const typed = from.get(pointer)?.control
    if (typed === undefined || typed.tagName !== control.tagName || typed.type !== control.type) continue
    if (isTouched(typed) && !isTouched(control)) copyValue(typed, control)
  }
}

function isTouched(control) {
  return control.type === 'checkbox' ? control.checked !== control.defaultChecked : (control.value ?? '') !== ''
}

function copyValue(from, to) {
  if (from.type === 'checkbox') to.checked = from.checked
  else if (from.tagName !== 'SELECT') to.value = from.value
  // The value of an option is its position in the list of options.
  else to.value = [...to.options].find((option) => option.text === from.selectedOptions[0].text)?.value ?? ''
}
