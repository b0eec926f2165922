/** Reads JSON Schemas for the form and for people. Pure. */
import { schema as text } from '../text/en.js'

/** Unwraps two other notations: a union with null, and a union of constants. */
export function simplify(schema) {
  const { anyOf, oneOf, ...rest } = schema
  const members = (anyOf ?? oneOf)?.filter((member) => member.type !== 'null')
  if (!members) return 'const' in schema ? { ...schema, enum: [schema.const] } : schema
  if (members.every((member) => 'const' in member)) return { ...rest, enum: members.map((member) => member.const) }
  const [only] = members
  return members.length === 1 ? simplify({ ...only, ...rest }) : schema
}

/** `1 to 10`, `at least 1`; empty if there are no limits. */
export function describeBounds({ minimum, maximum }) {
  if (minimum !== undefined && maximum !== undefined) return text.between(minimum, maximum)
  if (minimum !== undefined) return text.atLeast(minimum)
  return maximum === undefined ? '' : text.atMost(maximum)
}

/** Adds an initial capital letter and a full stop. */
export function sentence(words) {
  return words && `${words[0].toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? '' : '.'}`
}

/**
 * The fields of an object, one row each; fields of nested objects have dotted names: `{ name, type, isRequired,
 * fallback, text }`. A schema that is not an object with members becomes one row without a name.
 */
export function describeFields(schema) {
  return schema.properties ? describeMembers(schema, '') : [describeField(schema, '', true)]
}

function describeMembers({ properties, required = [] }, prefix) {
  return Object.entries(properties).flatMap(([name, member]) => {
    const field = simplify(member)
    const row = describeField(field, `${prefix}${name}`, required.includes(name))
    return field.type === 'object' && field.properties ? [row, ...describeMembers(field, `${prefix}${name}.`)] : [row]
  })
}

function describeField(schema, name, isRequired) {
  const meaning = [schema.description, sentence(describeBounds(schema))].filter(Boolean).join(' ')
  return { name, type: describeType(schema), isRequired, fallback: schema.default, text: meaning }
}

function describeType(given) {
  const schema = simplify(given)
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  const members = schema.anyOf ?? schema.oneOf
  if (members) return members.map(describeType).join(' | ')
  if (schema.type === 'array') return text.array(schema.items && describeType(schema.items))
  if (schema.format === 'date-time') return text.time
  return schema.type ?? text.any
}

/** A value that matches the schema as far as possible: the required fields, from examples, defaults and limits. */
export function makeExample(given) {
  const schema = simplify(given)
  if (schema.properties)
    return Object.fromEntries((schema.required ?? []).map((name) => [name, makeExample(schema.properties[name])]))
  const [example = schema.default ?? schema.enum?.[0]] = schema.examples ?? []
  if (example !== undefined) return example
  switch (schema.type) {
    case 'integer':
    case 'number':
      return schema.minimum ?? 1
    case 'boolean':
      return true
    case 'array':
      return schema.minItems > 0 ? [makeExample(schema.items ?? {})] : []
    case 'object':
      return {}
    case 'string':
      return schema.format === 'date-time' ? '2026-01-01T00:00:00Z' : 'text'.padEnd(schema.minLength ?? 0, '.')
    default:
      return null
  }
}
