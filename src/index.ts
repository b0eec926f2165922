/** The exports with which a project defines its own task types. */
export { Type, type Static } from 'typebox'
export type { Backoff } from './definitions/backoff.js'
export type { BuiltInTypes } from './handlers/built-in.js'
export {
  DatabaseAwayError,
  defineTask,
  LeaseLostError,
  type Definition,
  type TaskContext,
  type TaskTypesOf,
  type TimeLimits,
  type TypeLimit,
} from './definitions/definition.js'
export { defineSchedule, type ScheduleDefinition } from './definitions/schedule.js'
export { CancelTask, PermanentFailure, PutBack, RetryLater } from './definitions/outcome-errors.js'
