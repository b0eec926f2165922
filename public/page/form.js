/**
 * A form made from a JSON Schema. A field left empty is left out of the value, so the server fills in its default.
 *
 * Each field is registered in `places` under the JSON Pointer of its value, where the server's errors find it.
 */
import { h, setAttribute } from './dom.js'
import { findInexactNumber, isKept } from '../exact-numbers.js'
import { describeBounds, makeExample, sentence, simplify } from './schema.js'

let idCount = 0

/** Builds the members of an object schema: `{ elements, read(misfits) }`. What cannot be sent at all goes into `misfits`. */
export function createFields(schema, pointer, places) {
  const required = new Set(schema.required)
  const fields = Object.entries(schema.properties ?? {}).map(([name, member]) => {
    const at = `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
    return { name, ...createField(simplify(member), { name, pointer: at, isRequired: required.has(name), places }) }
  })
  const read = (misfits) => {
    const entries = fields.map(({ name, read }) => [name, read(misfits)]).filter(([, value]) => value !== undefined)
    return Object.fromEntries(entries)
  }
  return { elements: fields.map(({ element }) => element), read }
}

/** A labelled control with its help and its error; `read` returns undefined for nothing entered. */
export function createPlace(control, { label, name, help, pointer, isRequired, places }) {
  const id = `field-${++idCount}`
  control.id = id
  const error = h('div', { class: 'errors', id: `${id}-error`, hidden: true })
  const hint = help ? h('p', { class: 'help', id: `${id}-help` }, help) : null
  const key = name ? h('code', {}, name) : null
  const mark = isRequired ? h('span', { class: 'required' }, 'required') : null
  setAttribute(control, 'aria-describedby', [hint && hint.id, error.id].filter(Boolean).join(' '))
  setAttribute(control, 'aria-required', isRequired ? 'true' : null)
  places.set(pointer, { control, showErrors: (texts) => showErrors(control, error, texts) })
  const caption = h('label', { for: id }, h('span', {}, label), key, mark)
  const isSwitch = control.type === 'checkbox'
  return h('div', { class: isSwitch ? 'field switch' : 'field' }, isSwitch ? [control, caption] : [caption, control], hint, error)
}

function showErrors(control, element, texts) {
  element.replaceChildren(...texts.map((text) => h('p', { class: 'error' }, text)))
  element.hidden = texts.length === 0
  setAttribute(control, 'aria-invalid', texts.length > 0 ? 'true' : null)
}

function createField(schema, context) {
  if (schema.type === 'object' && schema.properties) return createGroup(schema, context)
  const { control, read } = createControl(schema, context)
  const { title, description } = schema
  const help = [description, describeLimits(schema)].filter(Boolean).join(' ')
  return { element: createPlace(control, { ...context, label: title ?? context.name, name: title ? context.name : null, help }), read }
}

function createGroup(schema, { name, pointer, isRequired, places }) {
  const { elements, read } = createFields(schema, pointer, places)
  const error = h('div', { class: 'errors', hidden: true })
  const help = schema.description ? h('p', { class: 'help' }, schema.description) : null
  const element = h('fieldset', {}, h('legend', {}, schema.title ?? name), help, error, elements)
  places.set(pointer, { control: element, showErrors: (texts) => showErrors(element, error, texts) })
  const readGroup = (misfits) => {
    const value = read(misfits)
    return isRequired || Object.keys(value).length > 0 ? value : undefined
  }
  return { element, read: readGroup }
}

function createControl(schema, context) {
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
  const none = schema.default === undefined ? (isRequired ? 'Choose one' : 'None') : `${schema.default} (default)`
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
  const control = h('input', { type: 'number', inputmode: 'decimal', min: minimum, max: maximum, step, placeholder: schema.default })
  const read = (misfits) => {
    if (control.validity.badInput) misfits.push({ pointer, detail: 'must be a number' })
    else if (!isKept(control.value)) misfits.push({ pointer, detail: `would become ${Number(control.value)}: it has more digits than can be kept` })
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
  const control = isLong ? h('textarea', { rows: 4, ...attributes }) : h('input', { type: isAddress ? 'url' : 'text', ...attributes })
  return { control, read: () => (control.value === '' ? undefined : control.value) }
}

function createJsonArea(schema, { pointer }) {
  const isList = schema.type === 'array' && schema.items !== undefined
  const example = schema.default ?? schema.examples?.[0] ?? (isList ? [makeExample(schema.items)] : undefined)
  const placeholder = example === undefined ? 'JSON' : JSON.stringify(example)
  const control = h('textarea', { rows: 3, class: 'code', spellcheck: 'false', placeholder })
  const read = (misfits) => {
    if (control.value.trim() === '') return undefined
    try {
      const value = JSON.parse(control.value)
      const inexact = findInexactNumber(control.value)
      if (inexact) misfits.push({ pointer, detail: `${inexact.number} would become ${inexact.kept}: write it as a text` })
      return value
    } catch (error) {
      misfits.push({ pointer, detail: `is not JSON: ${error.message}` })
      return undefined
    }
  }
  return { control, read }
}

/** What a field's value must keep to, as a sentence. */
function describeLimits(schema) {
  const { type, default: fallback, format, items } = schema
  const isNumber = type === 'integer' || type === 'number'
  const limits = [
    describeBounds(schema),
    fallback !== undefined && isNumber && `default ${fallback}`,
    format === 'date-time' && 'your local time',
    type === 'array' && `a JSON array${items?.type ? ` of ${items.type}s` : ''}`,
  ]
  return sentence(limits.filter(Boolean).join(', '))
}
