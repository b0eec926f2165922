/**
 * What PostgreSQL can store of a JSON value: text without NUL and without half surrogate pairs, not nested too deeply.
 * @see https://www.postgresql.org/docs/current/datatype-json.html
 */
import type { FieldError } from './errors.js'

/**
 * Walks a JSON value and returns the first thing that cannot be stored, or undefined.
 * @param maxDepth objects and arrays inside one another, the value itself included
 */
export function findUnstorable(value: unknown, maxDepth: number, pointer = ''): FieldError | undefined {
  if (typeof value === 'string') return describeText(value, pointer)
  if (typeof value !== 'object' || value === null) return undefined
  if (maxDepth === 0) return { pointer, detail: 'is nested too deeply', fix: 'Flatten the value.' }
  for (const [key, member] of Object.entries(value)) {
    const at = `${pointer}/${escapePointer(key)}`
    const found = describeText(key, at) ?? findUnstorable(member, maxDepth - 1, at)
    if (found !== undefined) return found
  }
  return undefined
}

/** One token of a JSON Pointer (RFC 6901 section 3). */
export function escapePointer(token: string): string {
  return token.replaceAll('~', '~0').replaceAll('/', '~1')
}

function describeText(text: string, pointer: string): FieldError | undefined {
  if (text.includes('\0')) return { pointer, detail: 'contains the character U+0000', fix: 'Remove it, or encode the text.' }
  if (!text.isWellFormed()) return { pointer, detail: 'contains half of a surrogate pair', fix: 'Send well-formed Unicode.' }
  return undefined
}
