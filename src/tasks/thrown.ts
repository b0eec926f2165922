/** Handlers throw anything. */
import { inspect } from 'node:util'

/** What was thrown, as an error whose name, message and stack are texts. Never throws. */
export function toError(thrown: unknown): Error {
  try {
    if (thrown instanceof Error && [thrown.name, thrown.message, thrown.stack ?? ''].every((text) => typeof text === 'string')) return thrown
    return new Error(typeof thrown === 'string' ? thrown : inspect(thrown, { depth: 2, breakLength: Infinity }))
  } catch {
    return new Error('a value was thrown that cannot be shown')
  }
}
