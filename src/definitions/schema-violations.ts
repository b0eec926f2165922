/**
 * Finds the fields of a refused value that do not fit. The work is bounded by the schema, not by the sender of the
 * value.
 *
 * TypeBox lists errors too, but visits the whole value and stops at eight errors: a body with 400,000 unknown fields
 * keeps it busy for seconds, and eight unknown fields hide all other errors. So objects and lists are walked here:
 * parts that fit are skipped by their compiled check, unknown fields are reported until the list is full, and TypeBox
 * explains only the small remaining parts.
 */
import type { TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import type { FieldError } from '../protocol/errors.js'
import { escapePointer } from '../protocol/text.js'
import { describeViolation, UNKNOWN_FIELD, type Violation } from './violation-words.js'

/** The most fields reported. */
const MAX_ERRORS = 50
/** TypeBox explains only parts with at most this many values. */
const MAX_EXPLAINED_VALUES = 500
/** Longer names of unknown fields are truncated, so that a response is not as long as its request. */
const MAX_NAME_LENGTH = 100

/** Keywords about an object or a list as a whole. Checking them visits no member. */
const OF_THE_WHOLE = ['type', 'minItems', 'maxItems', 'minProperties', 'maxProperties'] as const
/** Keywords that give a part of a schema a meaning beyond its own text. */
const REFERENCES: ReadonlySet<string> = new Set(['$ref', '$dynamicRef', '$recursiveRef'])

/** A schema as written; each keyword may be missing. */
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
 * The fields of a value that its schema refuses, each once, at most `MAX_ERRORS`. May be empty when there are no words
 * for the error; the value is wrong all the same.
 */
export function findViolations(schema: TSchema, value: unknown): FieldError[] {
  const found = new Findings()
  if (hasReferences(schema)) explain(schema, value, '', found)
  else walk(schema, value, '', found)
  return found.list()
}

/**
 * The fields found so far. Of several errors of a field the first is kept; for a union, that it fits none of the
 * members.
 */
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
    for (const field of describeViolation(violation, schema))
      this.add({ ...field, pointer: pointer + field.pointer }, violation.keyword === 'anyOf')
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

/** Checks the kind of the value and its number of members. */
function explainWhole(schema: TSchema, value: unknown, pointer: string, found: Findings): void {
  const whole = wholeOf(schema)
  if (!whole.Check(value)) for (const error of whole.Errors(value)) found.addViolation(error, schema, pointer)
}

function walkItems(
  { items, prefixItems }: Keywords,
  value: readonly unknown[],
  pointer: string,
  found: Findings,
): void {
  if (items === undefined || Array.isArray(items) || prefixItems !== undefined) return
  for (let index = 0; index < value.length && !found.isFull; index += 1)
    walk(items as TSchema | boolean, value[index], `${pointer}/${index}`, found)
}

function walkFields(keywords: Keywords, value: Record<string, unknown>, pointer: string, found: Findings): void {
  const { properties, patternProperties, additionalProperties, required = [] } = keywords
  if (properties === undefined || patternProperties !== undefined) return
  for (const name of required)
    if (!(name in value)) found.add({ pointer: `${pointer}/${escapePointer(name)}`, detail: 'is missing' })
  for (const [name, schema] of Object.entries(properties)) {
    if (value[name] !== undefined && Object.hasOwn(value, name))
      walk(schema, value[name], `${pointer}/${escapePointer(name)}`, found)
  }
  if (additionalProperties !== false) return
  for (const name in value) {
    if (found.isFull) return
    if (!Object.hasOwn(properties, name))
      found.add({ pointer: `${pointer}/${escapePointer(cut(name))}`, ...UNKNOWN_FIELD })
  }
}

/** The only member of a union that is of the value's kind, such as the object in "an object or null". */
function findOnlyMember({ anyOf = [] }: Keywords, value: unknown): TSchema | undefined {
  const members = anyOf.filter(
    (member): member is TSchema => typeof member === 'object' && 'type' in member && wholeOf(member).Check(value),
  )
  return members.length === 1 ? members[0] : undefined
}

/** Asks TypeBox about a part. Of a large part it only reports that it does not fit. */
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

/** Compiled on first use, because most parts of most schemas are never needed. */
function validatorOf(schema: TSchema): Validator {
  return remember(validators, schema, () => schema)
}

function wholeOf(schema: TSchema): Validator {
  return remember(wholes, schema, () => {
    const keywords = schema as Record<string, unknown>
    return Object.fromEntries(
      OF_THE_WHOLE.filter((keyword) => keyword in keywords).map((keyword) => [keyword, keywords[keyword]]),
    )
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
