/** Handlers may throw anything. None of these functions throws, whatever the value. */
import { inspect } from 'node:util'
import type { AttemptError } from '../db/attempts-schema.js'
import { toStorableText } from '../protocol/text.js'

/** The longest reason of a transition, and message of a failure, in characters. */
export const MAX_REASON_LENGTH = 2_000

/** The part of any thrown value that can be stored and shown. */
export function describeError(thrown: unknown): AttemptError {
  const readable = toReadable(thrown)
  const error: object = readable instanceof Error ? readable : new Error(describeThrown(readable))
  const read = (field: 'name' | 'message' | 'stack', maxLength: number) => {
    try {
      return toStorableText(Reflect.get(error, field), maxLength)
    } catch {
      return ''
    }
  }
  const name = read('name', 100) || 'Error'
  return { name, message: read('message', MAX_REASON_LENGTH) || name, stack: read('stack', 8_000) }
}

/**
 * The thrown value, or an error in its place: a proxy that throws on every access can be neither inspected nor
 * described.
 */
export function toReadable(thrown: unknown): unknown {
  try {
    void (thrown instanceof Error)
    return thrown
  } catch {
    return new Error('the handler threw a value that cannot be read')
  }
}

/** @see https://nodejs.org/docs/latest-v20.x/api/util.html#utilinspectobject-options */
function describeThrown(thrown: unknown): string {
  if (typeof thrown === 'string') return thrown
  try {
    return inspect(thrown, { depth: 2, breakLength: Infinity, customInspect: false, getters: false })
  } catch {
    return 'a value was thrown that cannot be shown'
  }
}
