/**
 * What PostgreSQL can store of a JSON value: text without NUL and without unpaired surrogates, not nested too deeply.
 * @see https://www.postgresql.org/docs/current/datatype-json.html
 */
import type { FieldError } from './errors.js'

/**
 * Walks a JSON value and returns the first thing that cannot be stored, or undefined.
 * @param maxDepth objects and arrays inside one another, the value itself included
 */
export function findUnstorable(value: unknown, maxDepth: number): FieldError | undefined {
  if (typeof value === 'string') return describeText(value)
  if (typeof value !== 'object' || value === null) return undefined
  if (maxDepth === 0) return { pointer: '', detail: 'is nested too deeply', fix: 'Flatten the value.' }
  if (Array.isArray(value)) return findInList(value, maxDepth)
  for (const key of Object.keys(value)) {
    const found = describeText(key) ?? findUnstorable((value as Record<string, unknown>)[key], maxDepth - 1)
    // The pointer is built from its end, and only if something was found.
    if (found !== undefined) return { ...found, pointer: `/${escapePointer(key)}${found.pointer}` }
  }
  return undefined
}

/** Not with Object.keys: it would create the name of every item, and there may be very many. */
function findInList(values: readonly unknown[], maxDepth: number): FieldError | undefined {
  for (let index = 0; index < values.length; index += 1) {
    const found = findUnstorable(values[index], maxDepth - 1)
    if (found !== undefined) return { ...found, pointer: `/${index}${found.pointer}` }
  }
  return undefined
}

/**
 * Turns any value into a text that PostgreSQL can store: without NUL and unpaired surrogates, and truncated without
 * splitting a pair. Never throws; a value that cannot be converted gives an empty text.
 * @param maxLength in UTF-16 code units
 */
export function toStorableText(given: unknown, maxLength: number): string {
  const text = readText(given).replaceAll('\0', '').toWellFormed()
  if (text.length <= maxLength) return text
  const isPairCut = /[\uD800-\uDBFF]/.test(text.charAt(maxLength - 1))
  return text.slice(0, isPairCut ? maxLength - 1 : maxLength)
}

function readText(given: unknown): string {
  if (typeof given === 'string') return given
  if (given === undefined || given === null) return ''
  try {
    return String(given)
  } catch {
    return ''
  }
}

/** One token of a JSON Pointer (RFC 6901 section 3). */
export function escapePointer(token: string): string {
  return token.replaceAll('~', '~0').replaceAll('/', '~1')
}

function describeText(text: string): FieldError | undefined {
  if (text.includes('\0'))
    return { pointer: '', detail: 'contains the character U+0000', fix: 'Remove it, or encode the text.' }
  if (!text.isWellFormed())
    return { pointer: '', detail: 'contains half of a surrogate pair', fix: 'Send well-formed Unicode.' }
  return undefined
}
