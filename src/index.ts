/** What a project imports from `taskwire` to write its own types of task. */
export { Type, type Static } from 'typebox'
export type { Backoff } from './tasks/backoff.js'
export type { BuiltInTypes } from './handlers/index.js'
export { DatabaseAwayError, defineTask, LeaseLostError, type Definition, type TaskContext, type TaskTypesOf, type TimeLimits } from './tasks/definition.js'
export { CancelTask, PermanentFailure, PutBack, RetryLater } from './tasks/outcome-errors.js'
