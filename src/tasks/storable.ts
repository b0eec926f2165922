/**
 * Values that handlers hand over to be stored: results, effects, payloads of children, data of progress reports.
 *
 * The rule: a value is stored as `JSON.stringify` writes it, and it is checked in that form. So a Date is stored as ISO 8601 text, a class
 * instance as what its `toJSON` returns or as its own fields, and a member that is undefined is left out. What JSON would lose without a
 * word is refused: a BigInt, NaN and the infinities, a Map, a Set, and any other object of a class that JSON writes as `{}`, such as an
 * Error or a promise that was not awaited. So is what PostgreSQL cannot hold (see `protocol/text.ts`).
 */
import type { FieldError } from '../protocol/errors.js'
import { escapePointer, findUnstorable } from '../protocol/text.js'

export interface StorableLimits {
  /** Of the JSON. */
  maxBytes: number
  /** Objects and arrays inside one another, the value itself included. */
  maxDepth: number
}

/** The value as it will be read again, or where it breaks the rule. */
export type Storable = { value: unknown; violation?: undefined } | { value?: undefined; violation: FieldError }

/** Never throws, whatever `toJSON` and the getters of the value do. Undefined counts as null. */
export function toStorable(given: unknown, { maxBytes, maxDepth }: StorableLimits): Storable {
  try {
    const json = JSON.stringify(given ?? null) as string | undefined
    if (json === undefined) return refuse(`is a ${typeof given}`, 'Return a JSON value.')
    const bytes = Buffer.byteLength(json)
    if (bytes > maxBytes) return refuse(`has ${bytes} bytes; at most ${maxBytes} are stored`, 'Store it as an artifact.')
    const value: unknown = JSON.parse(json)
    const violation = findUnstorable(value, maxDepth) ?? findLoss(given)
    return violation === undefined ? { value } : { violation }
  } catch (error) {
    return { violation: findBigInt(given) ?? describeFailure(error) }
  }
}

/** The largest result a task may have. */
export const RESULT_LIMITS: StorableLimits = { maxBytes: 256 * 1024, maxDepth: 64 }

/** The largest value of an effect that `once` records. */
export const EFFECT_LIMITS: StorableLimits = { maxBytes: 256 * 1024, maxDepth: 64 }

/** Why a task fails whose effect happened and cannot be recorded with its value. */
export function describeLostValue(key: string, why: FieldError): string {
  return `the effect "${key}" happened, and its value cannot be recorded: ${describeViolation(why)}`
}

/** A violation as part of a sentence. */
export function describeViolation({ pointer, detail }: FieldError): string {
  return `${pointer || 'it'} ${detail}`
}

function refuse(detail: string, fix: string): Storable {
  return { violation: { pointer: '', detail, fix } }
}

function describeFailure(error: unknown): FieldError {
  // Node's message about a cycle has several lines, of which the first says it.
  const [reason = ''] = error instanceof Error ? error.message.split('\n') : []
  if (error instanceof RangeError) return { pointer: '', detail: 'is too large or nested too deeply', fix: 'Store it as an artifact.' }
  return { pointer: '', detail: `cannot be written as JSON: ${reason}`, fix: 'Return a JSON value.' }
}

/** The first value that JSON would lose. Only called for what JSON has written: so there are no cycles, and its size is known. */
function findLoss(value: unknown): FieldError | undefined {
  return walk(value, Infinity, (part) => {
    if (typeof part === 'number' && !Number.isFinite(part)) return { pointer: '', detail: `is ${part}, which JSON cannot hold`, fix: 'Use null, or leave it out.' }
    if (typeof part === 'object' && part !== null && isLost(part)) {
      return { pointer: '', detail: `is a ${part.constructor?.name || 'object'} that JSON would store as {}`, fix: 'Use a plain object or an array.' }
    }
    return undefined
  })
}

/** `JSON.stringify` throws at a BigInt without saying where it is. */
function findBigInt(value: unknown): FieldError | undefined {
  try {
    return walk(value, 100, (part) => (typeof part === 'bigint' ? { pointer: '', detail: 'is a BigInt, which JSON cannot hold', fix: 'Use a text.' } : undefined), new Set())
  } catch {
    return undefined
  }
}

/** @param seen objects not to enter again, where there may be cycles */
function walk(value: unknown, depth: number, describe: (part: unknown) => FieldError | undefined, seen?: Set<object>): FieldError | undefined {
  const found = describe(value)
  if (found !== undefined || typeof value !== 'object' || value === null || depth === 0 || hasToJson(value) || seen?.has(value)) return found
  seen?.add(value)
  for (const key of Object.keys(value)) {
    const inner = walk((value as Record<string, unknown>)[key], depth - 1, describe, seen)
    if (inner !== undefined) return { ...inner, pointer: `/${escapePointer(key)}${inner.pointer}` }
  }
  return undefined
}

function isLost(value: object): boolean {
  if (hasToJson(value) || Array.isArray(value)) return false
  if (value instanceof Map || value instanceof Set) return true
  const prototype: unknown = Object.getPrototypeOf(value)
  const isPlain = prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype as object) === null
  const isBoxed = value instanceof String || value instanceof Number || value instanceof Boolean
  return !isPlain && !isBoxed && Object.keys(value).length === 0
}

function hasToJson(value: object): boolean {
  return typeof (value as { toJSON?: unknown }).toJSON === 'function'
}
