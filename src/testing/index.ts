/** `taskwire/testing`: for the tests of your own task types. See `docs/handlers.md`. */
export { createTestContext, type ContextOptions, type EffectPoint, type Reported } from './context.js'
export { runDefinition, type RunOptions, type TestOutcome, type TestRun } from './run-definition.js'
export { drain, expectTransitions, type DrainOptions } from './drain.js'
export { openDatabase } from '../db/open.js'
export { migrateDatabase } from '../db/migrate.js'
