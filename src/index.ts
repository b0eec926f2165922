/** What a project imports from `taskwire` to write its own types of task. */
export { Type, type Static } from 'typebox'
export { DatabaseAwayError, defineTask, LeaseLostError, type Definition, type TaskContext } from './tasks/definition.js'
