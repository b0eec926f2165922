/**
 * Finds the fields of a refused value that do not fit, with work that is bounded by the schema and not by who sends the value.
 *
 * TypeBox lists errors too, but visits all of a value for it and stops at eight: a body with 400,000 unknown fields keeps it
 * busy for seconds, and eight unknown fields hide everything else. So objects and lists are walked here: parts that fit are
 * passed over by their compiled check, unknown fields are named until the list is full, and TypeBox is asked about the small
 * parts that are left.
 */
import type { TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import type { FieldError } from '../protocol/errors.js'
import { escapePointer } from '../protocol/text.js'
import { describeViolation, UNKNOWN_FIELD, type Violation } from './violation-words.js'

/** The most fields that are named. */
const MAX_ERRORS = 50
/** TypeBox is asked to explain parts of at most so many values. */
const MAX_EXPLAINED_VALUES = 500
/** Longer names of unknown fields are cut: an answer must not be as long as what it answers. */
const MAX_NAME_LENGTH = 100

/** What a schema may say of an object or a list as a whole; checking it visits no member. */
const OF_THE_WHOLE = ['type', 'minItems', 'maxItems', 'minProperties', 'maxProperties'] as const
/** Keywords by which a part of a schema means more than it says alone. */
const REFERENCES: ReadonlySet<string> = new Set(['$ref', '$dynamicRef', '$recursiveRef'])

/** As schemas are written; each keyword may be there or not. */
interface Keywords {
  type?: unknown
  properties?: Record<string, TSchema | boolean>
  patternProperties?: unknown
  additionalProperties?: unknown
  required?: readonly string[]
  items?: TSchema | boolean | readonly TSchema[]
  prefixItems?: unknown
  anyOf?: readonly (TSchema | boolean)[]
}

/**
 * The fields of a value that its schema refuses, each once; at most `MAX_ERRORS`. May be empty: then there are no words for
 * what is wrong, and the value is wrong all the same.
 */
export function findViolations(schema: TSchema, value: unknown): FieldError[] {
  const found = new Findings()
  if (hasReferences(schema)) explain(schema, value, '', found)
  else walk(schema, value, '', found)
  return found.list()
}

/** The fields found so far. Of several things that are wrong with a field the first is told; for a union, that it fits none of its members. */
class Findings {
  readonly #fields = new Map<string, FieldError>()

  get isFull(): boolean {
    return this.#fields.size >= MAX_ERRORS
  }

  get count(): number {
    return this.#fields.size
  }

  add(field: FieldError, isSummary = false): void {
    if (isSummary || (!this.isFull && !this.#fields.has(field.pointer))) this.#fields.set(field.pointer, field)
  }

  addViolation(violation: Violation, schema: TSchema, pointer: string): void {
    for (const field of describeViolation(violation, schema)) this.add({ ...field, pointer: pointer + field.pointer }, violation.keyword === 'anyOf')
  }

  list(): FieldError[] {
    return [...this.#fields.values()].slice(0, MAX_ERRORS)
  }
}

function walk(schema: TSchema | boolean, value: unknown, pointer: string, found: Findings): void {
  if (found.isFull || schema === true) return
  if (schema === false) return found.add({ pointer, detail: 'must not be given' })
  if (validatorOf(schema).Check(value)) return
  const countBefore = found.count
  explainWhole(schema, value, pointer, found)
  const keywords = schema as Keywords
  if (Array.isArray(value)) walkItems(keywords, value, pointer, found)
  else if (isRecord(value)) walkFields(keywords, value, pointer, found)
  const onlyMember = found.count === countBefore ? findOnlyMember(keywords, value) : undefined
  if (onlyMember !== undefined) walk(onlyMember, value, pointer, found)
  if (found.count === countBefore) explain(schema, value, pointer, found)
}

/** Its kind, and how many members it has. */
function explainWhole(schema: TSchema, value: unknown, pointer: string, found: Findings): void {
  const whole = wholeOf(schema)
  if (!whole.Check(value)) for (const error of whole.Errors(value)) found.addViolation(error, schema, pointer)
}

function walkItems({ items, prefixItems }: Keywords, value: readonly unknown[], pointer: string, found: Findings): void {
  if (items === undefined || Array.isArray(items) || prefixItems !== undefined) return
  for (let index = 0; index < value.length && !found.isFull; index += 1) walk(items as TSchema | boolean, value[index], `${pointer}/${index}`, found)
}

function walkFields(keywords: Keywords, value: Record<string, unknown>, pointer: string, found: Findings): void {
  const { properties, patternProperties, additionalProperties, required = [] } = keywords
  if (properties === undefined || patternProperties !== undefined) return
  for (const name of required) if (!(name in value)) found.add({ pointer: `${pointer}/${escapePointer(name)}`, detail: 'is missing' })
  for (const [name, schema] of Object.entries(properties)) {
    if (value[name] !== undefined && Object.hasOwn(value, name)) walk(schema, value[name], `${pointer}/${escapePointer(name)}`, found)
  }
  if (additionalProperties !== false) return
  for (const name in value) {
    if (found.isFull) return
    if (!Object.hasOwn(properties, name)) found.add({ pointer: `${pointer}/${escapePointer(cut(name))}`, ...UNKNOWN_FIELD })
  }
}

/** Of a union: the one member that is of the value's kind, such as the object in "an object or null". */
function findOnlyMember({ anyOf = [] }: Keywords, value: unknown): TSchema | undefined {
  const members = anyOf.filter((member): member is TSchema => typeof member === 'object' && 'type' in member && wholeOf(member).Check(value))
  return members.length === 1 ? members[0] : undefined
}

/** What TypeBox says of a part; of a large one nothing but that it does not fit. */
function explain(schema: TSchema, value: unknown, pointer: string, found: Findings): void {
  if (!hasFewValues(value)) return found.add({ pointer, detail: 'does not fit its schema' })
  for (const error of validatorOf(schema).Errors(value)) found.addViolation(error, schema, pointer)
}

function hasFewValues(value: unknown): boolean {
  let left = MAX_EXPLAINED_VALUES
  const waiting: unknown[] = [value]
  while (waiting.length > 0) {
    const next = waiting.pop()
    if (typeof next !== 'object' || next === null) continue
    const names = Object.keys(next)
    left -= names.length
    if (left < 0) return false
    for (const name of names) waiting.push((next as Record<string, unknown>)[name])
  }
  return true
}

const validators = new WeakMap<TSchema, Validator>()
const wholes = new WeakMap<TSchema, Validator>()

/** Compiled when it is first needed: most parts of most schemas never are. */
function validatorOf(schema: TSchema): Validator {
  return remember(validators, schema, () => schema)
}

function wholeOf(schema: TSchema): Validator {
  return remember(wholes, schema, () => {
    const keywords = schema as Record<string, unknown>
    return Object.fromEntries(OF_THE_WHOLE.filter((keyword) => keyword in keywords).map((keyword) => [keyword, keywords[keyword]]))
  })
}

function remember(known: WeakMap<TSchema, Validator>, schema: TSchema, make: () => TSchema): Validator {
  const validator = known.get(schema) ?? Compile(make())
  known.set(schema, validator)
  return validator
}

function hasReferences(schema: unknown): boolean {
  if (typeof schema !== 'object' || schema === null) return false
  return Object.entries(schema).some(([keyword, part]) => REFERENCES.has(keyword) || hasReferences(part))
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function cut(name: string): string {
  return name.length <= MAX_NAME_LENGTH ? name : `${name.slice(0, MAX_NAME_LENGTH)}…`
}
