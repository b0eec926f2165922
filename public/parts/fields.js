/**
 * A form made from a JSON Schema. An empty field is left out of the value, so the server fills in its default.
 *
 * Each field is registered in `places` under the JSON Pointer of its value, where the server's errors find it.
 */
import { describeBounds, sentence, simplify } from '../format/schema.js'
import { fields as text } from '../text/en.js'
import { createControl } from './controls.js'
import { h } from './dom.js'
import { createPlace, showErrors } from './place.js'

/**
 * Builds the members of an object schema: `{ elements, read(violations) }`. Values that cannot be sent are added to
 * `violations`.
 */
export function createFields(schema, pointer, places) {
  const required = new Set(schema.required)
  const fields = Object.entries(schema.properties ?? {}).map(([name, member]) => {
    const at = `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
    return { name, ...createField(simplify(member), { name, pointer: at, isRequired: required.has(name), places }) }
  })
  const read = (violations) => {
    const entries = fields.map(({ name, read }) => [name, read(violations)]).filter(([, value]) => value !== undefined)
    return Object.fromEntries(entries)
  }
  return { elements: fields.map(({ element }) => element), read }
}

function createField(schema, context) {
  if (schema.type === 'object' && schema.properties) return createGroup(schema, context)
  const { control, read } = createControl(schema, context)
  const { title, description } = schema
  const help = [description, describeLimits(schema)].filter(Boolean).join(' ')
  return {
    element: createPlace(control, {
      ...context,
      label: title ?? context.name,
      name: title ? context.name : null,
      help,
    }),
    read,
  }
}

function createGroup(schema, { name, pointer, isRequired, places }) {
  const { elements, read } = createFields(schema, pointer, places)
  const error = h('div', { class: 'errors', hidden: true })
  const help = schema.description ? h('p', { class: 'help' }, schema.description) : null
  const element = h('fieldset', {}, h('legend', {}, schema.title ?? name), help, error, elements)
  places.set(pointer, { control: element, showErrors: (texts) => showErrors(element, error, texts) })
  const readGroup = (violations) => {
    const value = read(violations)
    return isRequired || Object.keys(value).length > 0 ? value : undefined
  }
  return { element, read: readGroup }
}

/** The limits of a field's value, as a sentence. */
function describeLimits(schema) {
  const { type, default: fallback, format, items } = schema
  const isNumber = type === 'integer' || type === 'number'
  const limits = [
    describeBounds(schema),
    fallback !== undefined && isNumber && text.limitDefault(fallback),
    format === 'date-time' && text.localTime,
    type === 'array' && text.jsonArray(items?.type),
  ]
  return sentence(limits.filter(Boolean).join(', '))
}
