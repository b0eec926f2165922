/**
 * Says in words what a value lacks to fit its schema.
 *
 * The compiled check alone decides whether a value fits. The words come after it, and only for a value that was refused: so a
 * list of errors that is cut short, or a keyword that has no words, can never make a wrong value right. What it takes to find
 * the words is bounded, whatever the size of the value (see `findViolations`).
 */
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { FieldError } from '../protocol/errors.js'
import { findViolations } from './schema-violations.js'

export interface Checker {
  /** What is wrong with the value, at most `MAX_ERRORS` fields; empty exactly when it fits. */
  check(value: unknown): FieldError[]
}

/** When the check refuses a value and no keyword has words for it. */
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
