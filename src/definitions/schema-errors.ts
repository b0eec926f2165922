/**
 * Describes in words why a value does not fit its schema.
 *
 * Only the compiled check decides whether a value fits. The words are found afterwards, and only for a refused value,
 * so a truncated list of errors or a keyword without words can never make a wrong value right. The work of finding the
 * words is bounded, whatever the size of the value (see `findViolations`).
 */
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { FieldError } from '../protocol/errors.js'
import { findViolations } from './schema-violations.js'

export interface Checker {
  /** The errors of the value, for at most `MAX_ERRORS` fields; empty exactly when it fits. */
  check(value: unknown): FieldError[]
}

/** Used when the check refuses a value and no keyword has words for it. */
const DOES_NOT_FIT: FieldError = { pointer: '', detail: 'does not fit its schema' }

/** Compiles a schema once. */
export function createChecker(schema: TSchema): Checker {
  const validator = Compile(schema)
  return {
    check(value) {
      if (validator.Check(value)) return []
      const errors = findViolations(schema, value)
      return errors.length > 0 ? errors : [DOES_NOT_FIT]
    },
  }
}
