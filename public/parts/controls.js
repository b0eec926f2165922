/** A form control for a value of a JSON Schema. */
import { findInexactNumber, isKept } from '../exact-numbers.js'
import { makeExample } from '../format/schema.js'
import { fields as text } from '../text/en.js'
import { h } from './dom.js'

/** @returns `{ control, read(violations) }`; `read` returns undefined if nothing was entered */
export function createControl(schema, context) {
  if (schema.enum) return createSelect(schema, context)
  switch (schema.type) {
    case 'boolean':
      return createCheckbox(schema)
    case 'integer':
    case 'number':
      return createNumberInput(schema, context)
    case 'string':
      return schema.format === 'date-time' ? createTimeInput() : createTextInput(schema)
    default:
      return createJsonArea(schema, context)
  }
}

function createSelect(schema, { isRequired }) {
  const none = schema.default === undefined ? (isRequired ? text.chooseOne : text.none) : text.default(schema.default)
  const choices = schema.enum.filter((value) => value !== schema.default)
  const options = choices.map((value, index) => h('option', { value: index }, String(value)))
  const control = h('select', {}, h('option', { value: '' }, none), options)
  return { control, read: () => (control.value === '' ? undefined : choices[Number(control.value)]) }
}

function createCheckbox(schema) {
  const isOnAtFirst = schema.default === true
  const control = h('input', { type: 'checkbox', checked: isOnAtFirst })
  return { control, read: () => (control.checked === isOnAtFirst ? undefined : control.checked) }
}

function createNumberInput(schema, { pointer }) {
  const { minimum, maximum } = schema
  const step = schema.type === 'integer' ? 1 : 'any'
  const control = h('input', {
    type: 'number',
    inputmode: 'decimal',
    min: minimum,
    max: maximum,
    step,
    placeholder: schema.default,
  })
  const read = (violations) => {
    if (control.validity.badInput) violations.push({ pointer, detail: text.notNumber })
    else if (!isKept(control.value)) violations.push({ pointer, detail: text.inexact(Number(control.value)) })
    return control.value === '' ? undefined : Number(control.value)
  }
  return { control, read }
}

function createTimeInput() {
  const control = h('input', { type: 'datetime-local', step: 1 })
  return { control, read: () => (control.value === '' ? undefined : new Date(control.value).toISOString()) }
}

function createTextInput(schema) {
  const isLong = schema.maxLength === undefined ? false : schema.maxLength > 5_000
  const placeholder = schema.default ?? schema.examples?.[0]
  const attributes = { placeholder, maxlength: schema.maxLength, autocomplete: 'off', spellcheck: 'false' }
  const isAddress = schema.format === 'uri' || /^\^?https\?:/.test(schema.pattern ?? '')
  const control = isLong
    ? h('textarea', { rows: 4, ...attributes })
    : h('input', { type: isAddress ? 'url' : 'text', ...attributes })
  return { control, read: () => (control.value === '' ? undefined : control.value) }
}

function createJsonArea(schema, { pointer }) {
  const isList = schema.type === 'array' && schema.items !== undefined
  const example = schema.default ?? schema.examples?.[0] ?? (isList ? [makeExample(schema.items)] : undefined)
  const placeholder = example === undefined ? text.json : JSON.stringify(example)
  const control = h('textarea', { rows: 3, class: 'code', spellcheck: 'false', placeholder })
  const read = (violations) => {
    if (control.value.trim() === '') return undefined
    try {
      const value = JSON.parse(control.value)
      const inexact = findInexactNumber(control.value)
      if (inexact) violations.push({ pointer, detail: text.inexactInJson(inexact.number, inexact.kept) })
      return value
    } catch (error) {
      violations.push({ pointer, detail: text.notJson(error.message) })
      return undefined
    }
  }
  return { control, read }
}
