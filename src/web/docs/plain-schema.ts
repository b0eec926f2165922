/**
 * Schemas of types as plain JSON Schema (draft 2020-12), as OpenAPI 3.1 requires.
 *
 * A type may come from anyone: its schema may have keywords of other drafts, values that JSON does not have, references
 * into itself, or loops. None of that may break the document for the other types, so only known keywords with valid
 * values are copied. The described schema may be wider than the one that the server checks, but never narrower.
 */

export type PlainSchema = Record<string, unknown>

export interface PlainOptions {
  /** The reference to a schema that has a name in the document; undefined for one that is repeated inline. */
  refer?(schema: object): string | undefined
  /** The target of a `$ref` in the document; undefined if it has none. */
  resolve?(ref: string): string | undefined
  /**
   * In the form that clients send: the server fills in defaults, so a field with a default may be omitted. The default
   * is described in words, because generators make a field with a default required.
   */
  isInput?: boolean
}

/** A schema nested more deeply has a loop, or is of no use in a document. */
const MAX_DEPTH = 48

const TYPES = ['null', 'boolean', 'object', 'array', 'number', 'string', 'integer']
const OF_SCHEMA = [
  'items',
  'contains',
  'additionalProperties',
  'unevaluatedProperties',
  'unevaluatedItems',
  'propertyNames',
  'not',
  'if',
  'then',
  'else',
]
const OF_LIST = ['allOf', 'anyOf', 'oneOf', 'prefixItems']
const OF_FIELDS = ['properties', 'patternProperties', 'dependentSchemas']
/** Keywords that apply to values of one type only. Linters refuse them next to another type. */
const ONLY_OF: Record<string, readonly string[]> = {
  object: [
    'properties',
    'patternProperties',
    'additionalProperties',
    'unevaluatedProperties',
    'propertyNames',
    'required',
    'minProperties',
    'maxProperties',
    'dependentSchemas',
    'dependentRequired',
  ],
  array: [
    'items',
    'prefixItems',
    'contains',
    'unevaluatedItems',
    'minItems',
    'maxItems',
    'uniqueItems',
    'minContains',
    'maxContains',
  ],
}

const isText = (value: unknown) => typeof value === 'string'
const isNumber = (value: unknown) => Number.isFinite(value)
const isCount = (value: unknown) => Number.isInteger(value) && Number(value) >= 0
const isFlag = (value: unknown) => typeof value === 'boolean'
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isNames = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText)

const VALUES: Record<string, (value: unknown) => boolean> = {
  ...Object.fromEntries(
    ['title', 'description', 'format', 'contentMediaType', 'contentEncoding'].map((name) => [name, isText]),
  ),
  ...Object.fromEntries(['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'].map((name) => [name, isNumber])),
  ...Object.fromEntries(
    [
      'minLength',
      'maxLength',
      'minItems',
      'maxItems',
      'minProperties',
      'maxProperties',
      'minContains',
      'maxContains',
    ].map((name) => [name, isCount]),
  ),
  ...Object.fromEntries(['uniqueItems', 'deprecated', 'readOnly', 'writeOnly'].map((name) => [name, isFlag])),
  multipleOf: (value) => isNumber(value) && Number(value) > 0,
  pattern: isPattern,
  required: isNames,
  dependentRequired: (value) => isObject(value) && Object.values(value).every(isNames),
  enum: (value) => Array.isArray(value) && value.length > 0,
  examples: Array.isArray,
  const: () => true,
  default: () => true,
}

/** Never throws, whatever the schema is. */
export function toPlainSchema(schema: unknown, options: PlainOptions = {}, depth = 0): PlainSchema {
  if (schema === false) return { not: {} }
  if (!isObject(schema) || depth > MAX_DEPTH) return {}
  if (typeof schema['$ref'] === 'string') return referTo(schema['$ref'], options)
  const nested = (value: unknown) => readNested(value, options, depth + 1)
  const plain: PlainSchema = {}
  for (const [name, value] of Object.entries(schema)) {
    if (OF_SCHEMA.includes(name) && (isObject(value) || isFlag(value)))
      plain[name] = isFlag(value) && name !== 'not' ? value : nested(value)
    else if (OF_LIST.includes(name) && Array.isArray(value) && value.length > 0) plain[name] = value.map(nested)
    else if (OF_FIELDS.includes(name) && isObject(value))
      plain[name] = Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, nested(inner)]))
    else if (VALUES[name]?.(value) === true || name.startsWith('x-')) Object.assign(plain, copyData(name, value))
  }
  return settleTypes(
    readTuple(schema, options.isInput === true ? asInput(schema, plain) : plain, nested),
    schema['type'],
  )
}

function readNested(schema: unknown, options: PlainOptions, depth: number): PlainSchema {
  const ref = isObject(schema) ? options.refer?.(schema) : undefined
  return ref === undefined ? toPlainSchema(schema, options, depth) : { $ref: ref }
}

function referTo(ref: string, { resolve }: PlainOptions): PlainSchema {
  const target = resolve?.(ref)
  return target === undefined ? {} : { $ref: target }
}

/** Values that JSON cannot express are omitted. */
function copyData(name: string, value: unknown): PlainSchema {
  try {
    const text: unknown = JSON.stringify(value)
    return typeof text === 'string' ? { [name]: JSON.parse(text) as unknown } : {}
  } catch {
    return {}
  }
}

function isPattern(value: unknown): boolean {
  if (typeof value !== 'string') return false
  try {
    return new RegExp(value, 'u') instanceof RegExp
  } catch {
    return false
  }
}

/** Before draft 2020-12 a tuple was a list in `items`. */
function readTuple(
  schema: Record<string, unknown>,
  plain: PlainSchema,
  nested: (value: unknown) => PlainSchema,
): PlainSchema {
  const { items, additionalItems } = schema
  if (!Array.isArray(items) || items.length === 0) return plain
  return {
    ...plain,
    prefixItems: items.map(nested),
    ...(additionalItems !== undefined && {
      items: isFlag(additionalItems) ? additionalItems : nested(additionalItems),
    }),
  }
}

function asInput({ properties }: Record<string, unknown>, { default: initial, ...plain }: PlainSchema): PlainSchema {
  const fields = isObject(properties) ? properties : {}
  const hasDefault = (name: string) => isObject(fields[name]) && fields[name]['default'] !== undefined
  if (isNames(plain['required'])) plain['required'] = plain['required'].filter((name) => !hasDefault(name))
  if (initial === undefined) return plain
  const description = isText(plain['description']) ? `${String(plain['description'])} ` : ''
  return { ...plain, description: `${description}Default: ${JSON.stringify(initial)}.` }
}

/** Only the types of JSON, and only the keywords that apply to them. */
function settleTypes(plain: PlainSchema, given: unknown): PlainSchema {
  const types = [given].flat().filter((type): type is string => isText(type) && TYPES.includes(String(type)))
  if (types.length === 0 || types.length !== [given].flat().length) return plain
  const foreign = Object.entries(ONLY_OF).flatMap(([type, keywords]) => (types.includes(type) ? [] : keywords))
  const kept = Object.fromEntries(Object.entries(plain).filter(([name]) => !foreign.includes(name)))
  const { enum: choices } = kept
  const possible = Array.isArray(choices)
    ? choices.filter((choice) => types.some((type) => isOfType(choice, type)))
    : undefined
  if (possible?.length === 0) return { not: {} }
  return { type: Array.isArray(given) ? types : types[0], ...kept, ...(possible && { enum: possible }) }
}

function isOfType(value: unknown, type: string): boolean {
  if (type === 'integer') return Number.isInteger(value)
  if (type === 'array') return Array.isArray(value)
  if (type === 'object') return isObject(value)
  return value === null ? type === 'null' : typeof value === type
}

/**
 * A schema and its own definitions, each under a name in the document.
 * @param name the name of the schema; its definitions are called `<name>_<definition>`
 */
export function toPlainSchemas(name: string, schema: unknown, options: PlainOptions = {}): Record<string, PlainSchema> {
  const own = isObject(schema) ? schema : {}
  const defined = [own['$defs'], own['definitions']].filter(isObject).flatMap((group) => Object.entries(group))
  const places = new Map<string, string>([['#', name], ...idsOf(own).map((id) => [id, name] as const)])
  for (const [key, definition] of defined) {
    const place = `${name}_${key.replaceAll(/[^A-Za-z0-9._-]/g, '_')}`
    for (const ref of [
      `#/$defs/${key}`,
      `#/definitions/${key}`,
      key,
      ...(isObject(definition) ? idsOf(definition) : []),
    ])
      places.set(ref, place)
  }
  const resolve = (ref: string) => {
    const place = places.get(ref) ?? places.get(decodeRef(ref))
    return place === undefined ? undefined : `#/components/schemas/${place}`
  }
  const all = [
    [name, schema] as const,
    ...defined.map(([key, definition]) => [places.get(`#/$defs/${key}`) ?? name, definition] as const),
  ]
  return Object.fromEntries(all.map(([place, one]) => [place, toPlainSchema(one, { ...options, resolve })]))
}

function idsOf({ $id, $anchor }: Record<string, unknown>): string[] {
  return [...(isText($id) ? [String($id)] : []), ...(isText($anchor) ? [`#${String($anchor)}`] : [])]
}

function decodeRef(ref: string): string {
  try {
    return decodeURIComponent(ref).replaceAll('~1', '/').replaceAll('~0', '~')
  } catch {
    return ref
  }
}
