/** Fills in the defaults of a schema. */
import { Type, type TSchema } from 'typebox'
import { Value } from 'typebox/value'

/** Keywords of JSON Schema whose value is a schema, or `true` or `false` for one that accepts everything or nothing. */
const OF_SCHEMAS = new Set([
  'additionalProperties',
  'items',
  'additionalItems',
  'unevaluatedProperties',
  'unevaluatedItems',
  'contains',
  'propertyNames',
  'not',
  'if',
  'then',
  'else',
])
/** Keywords whose value is a list of schemas (`items` may be one too). */
const OF_LISTS = new Set(['allOf', 'anyOf', 'oneOf', 'items', 'prefixItems'])
/** Keywords whose value has schemas as its fields. */
const OF_FIELDS = new Set(['properties', 'patternProperties', 'dependentSchemas', '$defs', 'definitions'])

/**
 * TypeBox looks for a default in every schema beside a value, and throws a TypeError where that schema is `true` or
 * `false`: at any unknown name in a `Record` with `additionalProperties: false`.
 * @returns a function that fills in the defaults, in place where possible
 */
export function createDefaults(schema: TSchema): (given: unknown) => unknown {
  const readable = withoutBooleans(schema) as TSchema
  return (given) => Value.Default(readable, given)
}

/** A copy, including TypeBox's own marks, in which each boolean schema is an object. */
function withoutBooleans(schema: unknown): unknown {
  if (typeof schema === 'boolean') return schema ? Type.Unknown() : Type.Never()
  if (typeof schema !== 'object' || schema === null) return schema
  const fields = Object.entries(Object.getOwnPropertyDescriptors(schema)).map(([name, field]) => [
    name,
    'value' in field ? { ...field, value: inKeyword(name, field.value) } : field,
  ])
  return Object.create(
    Object.getPrototypeOf(schema) as object | null,
    Object.fromEntries(fields) as PropertyDescriptorMap,
  )
}

function inKeyword(name: string, value: unknown): unknown {
  if (OF_LISTS.has(name) && Array.isArray(value)) return value.map(withoutBooleans)
  if (OF_FIELDS.has(name) && typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([field, schema]) => [field, withoutBooleans(schema)]))
  return OF_SCHEMAS.has(name) ? withoutBooleans(value) : value
}
