/**
 * Values that handlers return or pass to be stored: results, effects, payloads of children, data of progress reports.
 *
 * The rule: a value is stored as `JSON.stringify` writes it, and it is checked in that form. A Date is stored as ISO
 * 8601 text, a class instance as the result of its `toJSON` or as its own fields. Members that are undefined or a
 * function are left out, as are named members of an array. Undefined in an array, and a hole, become null, and -0
 * becomes 0. Any other loss is refused (see `findLoss`), and so are values that PostgreSQL cannot hold (see
 * `protocol/text.ts`).
 */
import { types } from 'node:util'
import type { FieldError } from '../../protocol/errors.js'
import { escapePointer, findUnstorable } from '../../protocol/text.js'

export interface StorableLimits {
  /** Size of the JSON. */
  maxBytes: number
  /** Nesting of objects and arrays, the value itself included. */
  maxDepth: number
}

/** The value as it will be read back, or its first violation of the rule. */
export type Storable = { value: unknown; violation?: undefined } | { value?: undefined; violation: FieldError }

/** Never throws, whatever `toJSON` and the getters of the value do. Undefined counts as null. */
export function toStorable(given: unknown, { maxBytes, maxDepth }: StorableLimits): Storable {
  try {
    const json = JSON.stringify(given ?? null, createLossCheck(maxBytes))
    const bytes = Buffer.byteLength(json)
    if (bytes > maxBytes) throw new ViolationError({ pointer: '', ...describeSize(`${bytes} bytes`, maxBytes) })
    const value: unknown = JSON.parse(json)
    const violation = findUnstorable(value, maxDepth)
    return violation === undefined ? { value } : { violation }
  } catch (error) {
    return { violation: error instanceof ViolationError ? error.violation : describeFailure(error) }
  }
}

/** The largest result a task may have. */
export const RESULT_LIMITS: StorableLimits = { maxBytes: 256 * 1024, maxDepth: 64 }

/** The largest value of an effect that `once` records. */
export const EFFECT_LIMITS: StorableLimits = { maxBytes: 256 * 1024, maxDepth: 64 }

/** The failure of a task whose effect happened but whose value cannot be recorded. */
export function describeLostValue(key: string, why: FieldError): string {
  return `the effect "${key}" happened, but its value cannot be recorded: ${describeViolation(why)}`
}

/** A violation as part of a sentence. */
export function describeViolation({ pointer, detail }: FieldError): string {
  return `${pointer || 'it'} ${detail}`
}

/** Ends `JSON.stringify` at the first violation of the rule. */
class ViolationError extends Error {
  constructor(readonly violation: FieldError) {
    super(violation.detail)
  }
}

function describeFailure(error: unknown): FieldError {
  // Node's message about a cycle has several lines; the first is enough.
  const [reason = ''] = error instanceof Error ? error.message.split('\n') : []
  if (error instanceof RangeError)
    return { pointer: '', detail: 'is too large or nested too deeply', fix: 'Store it as an artifact.' }
  return { pointer: '', detail: `cannot be written as JSON: ${reason}`, fix: 'Return a JSON value.' }
}

function describeSize(size: string, maxBytes: number): Omit<FieldError, 'pointer'> {
  return { detail: `has ${size}; at most ${maxBytes} are stored`, fix: 'Store it as an artifact.' }
}

/**
 * A replacer for `JSON.stringify` that changes nothing and throws at the first value that would be lost. Each value
 * takes at least one byte, so a value with millions of members ends early, before its text fills the memory.
 */
function createLossCheck(maxBytes: number): (this: unknown, key: string, value: unknown) => unknown {
  // The location of each object. An object in two locations has the latest, because its members follow right after it.
  const locations = new Map<unknown, { holder: unknown; key: string }>()
  let left = maxBytes
  return function (key, value) {
    const holder = this as object
    const isWhole = locations.size === 0
    const loss =
      left-- > 0 ? findLoss(holder, key, value, isWhole) : describeSize(`more than ${maxBytes} bytes`, maxBytes)
    if (loss !== undefined)
      throw new ViolationError({ pointer: left < 0 ? '' : locate(locations, holder, key), ...loss })
    if ((value === undefined || typeof value === 'function') && !Array.isArray(holder)) left += 1
    else if (typeof value === 'object' && value !== null) locations.set(value, { holder, key })
    return value
  }
}

function locate(
  locations: ReadonlyMap<unknown, { holder: unknown; key: string }>,
  holder: unknown,
  key: string,
): string {
  let pointer = ''
  // The holder of the whole value is an object made by JSON.stringify, which has no location.
  for (let at = locations.get(holder), name = key; at !== undefined; name = at.key, at = locations.get(at.holder))
    pointer = `/${escapePointer(name)}${pointer}`
  return pointer
}

/** @param value the result of `toJSON` on `holder[key]`, if it has one */
function findLoss(
  holder: object,
  key: string,
  value: unknown,
  isWhole: boolean,
): Omit<FieldError, 'pointer'> | undefined {
  switch (typeof value) {
    case 'number':
      return Number.isFinite(value) ? undefined : notANumber(value)
    case 'bigint':
      return BIG_INT
    case 'symbol':
      return { detail: 'is a symbol', fix: 'Use a JSON value.' }
    case 'function':
      // Methods of an object are left out.
      return Array.isArray(holder) || isWhole ? { detail: 'is a function', fix: 'Use a JSON value.' } : undefined
    case 'undefined':
      return (holder as Record<string, unknown>)[key] === undefined
        ? undefined
        : { detail: 'has a toJSON that returns undefined', fix: 'Have it return a JSON value.' }
    case 'object':
      return value === null ? findLostDate((holder as Record<string, unknown>)[key]) : findLossOfObject(value)
  }
  return undefined
}

const BIG_INT = { detail: 'is a BigInt, which JSON cannot hold', fix: 'Use a text.' }

function notANumber(value: unknown): Omit<FieldError, 'pointer'> {
  return { detail: `is ${String(value)}, which JSON cannot hold`, fix: 'Use null, or leave it out.' }
}

function findLostDate(given: unknown): Omit<FieldError, 'pointer'> | undefined {
  return types.isDate(given)
    ? { detail: 'is an invalid Date, which JSON cannot hold', fix: 'Use null, or leave it out.' }
    : undefined
}

function findLossOfObject(value: object): Omit<FieldError, 'pointer'> | undefined {
  if (Array.isArray(value)) return undefined
  if (types.isBigIntObject(value)) return BIG_INT
  if (types.isNumberObject(value)) return Number.isFinite(Number(value)) ? undefined : notANumber(value)
  if (types.isStringObject(value) || types.isBooleanObject(value)) return undefined
  const name = (value.constructor as { name?: string } | undefined)?.name || 'object'
  if (ArrayBuffer.isView(value))
    return {
      detail: `is a ${name} that JSON would store as an object`,
      fix: 'Use an array, or store it as an artifact.',
    }
  if (
    types.isMap(value) ||
    types.isSet(value) ||
    value instanceof Error ||
    types.isPromise(value) ||
    isEmptyInstance(value)
  ) {
    return {
      detail: `is a ${name} that JSON would store ${Object.keys(value).length === 0 ? 'as {}' : 'without its content'}`,
      fix: 'Use a plain object or an array.',
    }
  }
  return undefined
}

/** E.g. a RegExp, or an instance of a class whose fields are private. */
function isEmptyInstance(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  const isPlain =
    prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype as object) === null
  return !isPlain && Object.keys(value).length === 0
}
