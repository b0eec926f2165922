/** Examples generated from schemas, for the document. An example that the type itself refuses is not shown. */
import type { Registry } from '../../definitions/registry.js'

interface Schema {
  examples?: unknown[]
  default?: unknown
  const?: unknown
  enum?: unknown[]
  anyOf?: unknown[]
  oneOf?: unknown[]
  type?: string
  properties?: Record<string, unknown>
  required?: string[]
  items?: unknown
  minItems?: number
  minimum?: number
  format?: string
}

const FORMATS: Record<string, string> = {
  uuid: '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10',
  'date-time': '2026-11-20T21:22:23.456Z',
  date: '2026-11-20',
  email: 'somebody@example.com',
  uri: 'https://example.com/',
  url: 'https://example.com/',
}
/** A schema nested more deeply is a loop. */
const MAX_DEPTH = 8

/** A create of this type with the minimum of fields, or with one more; undefined if none was found. */
export function createSample(type: string, registry: Registry): { type: string; payload: unknown } | undefined {
  const found = registry.find(type)
  if (found === undefined) return undefined
  const least = sampleOf(found.definition.payload)
  const { properties = {} } = found.definition.payload as Schema
  const further = Object.entries(properties).map(([name, schema]) => ({
    ...(least as object),
    [name]: sampleOf(schema),
  }))
  // Defaults are filled in where a payload is.
  const payload = [least, ...further].find(
    (candidate) => found.readPayload(structuredClone(candidate)).errors.length === 0,
  )
  return payload === undefined ? undefined : { type, payload }
}

/** A value that matches the schema, as far as examples, defaults and limits allow. */
export function sampleOf(schema: unknown, depth = 0): unknown {
  if (typeof schema !== 'object' || schema === null || depth > MAX_DEPTH) return null
  const {
    examples,
    enum: choices,
    anyOf,
    oneOf,
    type,
    properties = {},
    required = [],
    items,
    minItems = 0,
    minimum,
    format = '',
    ...rest
  } = schema as Schema
  if (Array.isArray(examples) && examples.length > 0) return examples[0]
  if (rest.default !== undefined) return rest.default
  if ('const' in rest) return rest.const
  if (Array.isArray(choices)) return choices[0]
  const [branch] = anyOf ?? oneOf ?? []
  if (branch !== undefined) return sampleOf(branch, depth + 1)
  switch (type) {
    case 'object':
      return Object.fromEntries(required.map((name) => [name, sampleOf(properties[name], depth + 1)]))
    case 'array':
      return Array.from({ length: Math.min(minItems, 10) }, () => sampleOf(items, depth + 1))
    case 'string':
      return FORMATS[format] ?? 'text'
    case 'integer':
    case 'number':
      return minimum ?? 0
    case 'boolean':
      return false
    default:
      return null
  }
}
