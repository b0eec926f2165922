/** Values of schemas and invalid variants of them, with one location replaced and unknown fields added. */
import fc from 'fast-check'
import type { TSchema } from 'typebox'

interface Keywords {
  type?: string
  const?: unknown
  enum?: unknown[]
  anyOf?: TSchema[]
  properties?: Record<string, TSchema>
  patternProperties?: Record<string, TSchema>
  required?: string[]
  items?: TSchema
  minItems?: number
  maxItems?: number
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
  pattern?: string
  format?: string
  examples?: unknown[]
}

/** Values that nearly always match the schema: a pattern and a length together may be violated. */
function valuesOf(schema: TSchema): fc.Arbitrary<unknown> {
  const {
    type,
    anyOf,
    enum: choices,
    properties,
    patternProperties,
    required = [],
    items,
    minItems = 0,
    maxItems = 5,
    minimum = -10,
    maximum = 1_000,
    examples = [],
    format,
    pattern,
    minLength = 0,
    maxLength = 20,
    ...rest
  } = schema as Keywords
  if ('const' in rest) return fc.constant(rest.const)
  if (choices !== undefined) return fc.constantFrom(...choices)
  if (anyOf !== undefined) return fc.oneof(...anyOf.map(valuesOf))
  if (properties !== undefined) {
    const fields = Object.fromEntries(Object.entries(properties).map(([name, field]) => [name, valuesOf(field)]))
    return fc.record(fields, { requiredKeys: required, noNullPrototype: true })
  }
  if (patternProperties !== undefined) return fc.constant({})
  switch (type) {
    case 'string':
      if (format === 'uuid') return fc.uuid()
      if (format === 'date-time')
        return fc
          .date({ min: new Date('2030-01-01'), max: new Date('2040-01-01'), noInvalidDate: true })
          .map((date) => date.toISOString())
      if (examples.length > 0) return fc.constantFrom(...examples)
      // Two kinds of patterns need their own generators: lists of ids, and negated sets, for which fast-check would list
      // all of Unicode.
      if (pattern?.includes('{0,199}'))
        return fc.array(fc.uuid(), { minLength: 1, maxLength: 3 }).map((ids) => ids.join())
      return pattern === undefined || pattern.includes('[^')
        ? fc.string({ minLength, maxLength: Math.min(maxLength, 20) })
        : fc.stringMatching(new RegExp(pattern, 'u'), { maxLength: Math.min(maxLength, 30) })
    case 'integer':
      return fc.integer({ min: minimum, max: Math.min(maximum, 2 ** 31) })
    case 'number':
      return fc.double({ min: minimum, max: maximum, noNaN: true })
    case 'boolean':
      return fc.boolean()
    case 'null':
      return fc.constant(null)
    case 'array':
      return items === undefined
        ? fc.constant([])
        : fc.array(valuesOf(items), { minLength: minItems, maxLength: Math.min(maxItems, minItems + 2) })
    default:
      return fc.jsonValue({ maxDepth: 2 })
  }
}

/** Text to insert into JSON as it is: values that JavaScript cannot represent, such as lists 60,000 levels deep. */
class Raw {
  constructor(readonly json: string) {}
}

const wide = (count: number, value: string) =>
  new Raw(`{${Array.from({ length: count }, (_, index) => `"w${index}":${value}`).join()}}`)
const deep = (count: number) => new Raw('['.repeat(count) + ']'.repeat(count))

/** Every kind of JSON value, above all those that often break programs. */
export const anyShape: fc.Arbitrary<unknown> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.constantFrom(
      null,
      true,
      false,
      0,
      -1,
      1.5,
      2 ** 31,
      2 ** 53,
      1e21,
      -1e308,
      '',
      [],
      {},
      [[]],
      [null],
      '\0',
      'a\0b',
      '\ud800',
      'x\udfff',
      '__proto__',
      'constructor',
      'toString',
    ),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      ...['1e400', '-1e400', '1e-400', '123456789012345678901234567890', '9007199254740993', '-0'].map(
        (json) => new Raw(json),
      ),
    ),
  },
  {
    weight: 6,
    arbitrary: fc
      .tuple(
        fc.constantFrom('toString', 'valueOf', 'length', 'then', 'toJSON', 'hasOwnProperty', 'constructor', '0', ''),
        fc.constantFrom(0, null, 'x', {}, [], -1),
      )
      .map(([name, value]) => ({ [name]: value })),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      new Raw('{"__proto__":{"x":1}}'),
      new Raw('{"constructor":{"prototype":{}}}'),
      new Raw('{"a":1,"a":2}'),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(deep(33), deep(65), deep(5_000), new Raw(`${'{"a":'.repeat(500)}1${'}'.repeat(500)}`)),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      deep(60_000),
      wide(6_000, '1'),
      wide(300, '[{}]'),
      new Raw(`[${'0,'.repeat(30_000)}0]`),
      'x'.repeat(100_000),
      'é\u0301'.repeat(2_000),
    ),
  },
  { weight: 4, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  { weight: 4, arbitrary: fc.string({ unit: 'binary', maxLength: 300 }) },
)

/** The locations of a value that can be replaced, including those of missing fields that its schema defines. */
function placesOf(schema: TSchema, value: unknown, path: readonly string[] = []): (readonly string[])[] {
  const { properties = {}, items } = schema as Keywords
  const here = [path]
  if (Array.isArray(value))
    return [...here, ...value.flatMap((item, index) => placesOf(items ?? {}, item, [...path, String(index)]))]
  if (typeof value !== 'object' || value === null) return here
  const names = new Set([...Object.keys(properties), ...Object.keys(value)])
  return [
    ...here,
    ...[...names].flatMap((name) =>
      placesOf(properties[name] ?? {}, (value as Record<string, unknown>)[name], [...path, name]),
    ),
  ]
}

function replaceAt(value: unknown, path: readonly string[], by: unknown): unknown {
  const [name, ...rest] = path
  if (name === undefined) return by
  if (Array.isArray(value))
    return value.map((item: unknown, index) => (String(index) === name ? replaceAt(item, rest, by) : item))
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  return { ...fields, [name]: replaceAt(fields[name], rest, by) }
}

/**
 * Values of the schema with one location replaced, and with unknown fields before or after the fields of the outermost
 * object.
 */
export function strangeValues(schema: TSchema): fc.Arbitrary<unknown> {
  return fc
    .tuple(
      valuesOf(schema),
      anyShape,
      fc.nat(),
      fc.integer({ min: 0, max: 50 }),
      fc.boolean(),
      fc.integer({ min: 0, max: 9 }),
    )
    .map(([value, shape, place, count, isBefore, chance]) => {
      const places = placesOf(schema, value)
      const replaced = chance === 0 ? value : replaceAt(value, places[place % places.length] ?? [], shape)
      if (typeof replaced !== 'object' || replaced === null || Array.isArray(replaced) || replaced instanceof Raw)
        return replaced
      const unknown = Object.fromEntries(
        Array.from({ length: chance < 5 ? count : 0 }, (_, index) => [`stranger${index}`, index]),
      )
      return isBefore ? { ...unknown, ...replaced } : { ...replaced, ...unknown }
    })
}

/** Serializes a value with raw parts as JSON. */
export function toJsonText(value: unknown): string {
  const raws: string[] = []
  const text = JSON.stringify(value, (_, part: unknown) =>
    part instanceof Raw ? `raw ${raws.push(part.json) - 1} here` : part,
  )
  return text.replaceAll(/"raw (\d+) here"/g, (whole, index: string) => raws[Number(index)] ?? whole)
}
