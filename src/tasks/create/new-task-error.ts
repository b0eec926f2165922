/** The error of a create or an edit that cannot be accepted. */
import type { FieldError, ProblemCode } from '../../protocol/errors.js'

/** The request cannot be accepted; `errors` say where and why. Nothing was stored. */
export class NewTaskError extends Error {
  override readonly name = 'NewTaskError'
  constructor(
    readonly code: Extract<ProblemCode, 'invalid_task' | 'unknown_type' | 'internal_type' | 'invalid_payload'>,
    message: string,
    readonly errors: readonly FieldError[],
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}
