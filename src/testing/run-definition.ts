/** One attempt of a definition, in memory: no database, no broker, no time that passes. */
import type { Static, TSchema } from 'typebox'
import { backoffMs, DEFAULT_BACKOFF } from '../tasks/backoff.js'
import { DEFAULT_ATTEMPTS, type Definition } from '../tasks/definition.js'
import { CancelTask, PermanentFailure, RetryLater } from '../tasks/outcome-errors.js'
import { createRegistry } from '../tasks/registry.js'
import { createTestContext, type ContextOptions, type Reported } from './context.js'

/** How the attempt ended, and what that would mean for the task. */
export type TestOutcome<Result> =
  | { status: 'COMPLETED'; result: Result }
  | { status: 'RETRYING'; error: Error; retryInMs: number }
  | { status: 'FAILED' | 'CANCELLED'; error: Error }

export type TestRun<Result> = TestOutcome<Result> & { reported: Reported }

/**
 * Checks the payload as `POST /api/tasks` would, fills in its defaults, runs the handler and checks its result.
 *
 * @param options.attempt which attempt it is, and with it whether a failure is the last one. Default 1
 * @throws TypeError when the payload does not fit: such a task could not have been created
 * @example
 * const run = await runDefinition(welcome, { userId: 'u1' })
 * assert.equal(run.status, 'COMPLETED')
 */
export async function runDefinition<Payload extends TSchema, Result extends TSchema>(
  definition: Definition<Payload, Result>,
  payload: unknown = {},
  options: ContextOptions = {},
): Promise<TestRun<Static<Result>>> {
  const registered = createRegistry([definition as unknown as Definition], definition.type).find(definition.type)
  if (registered === undefined) throw new TypeError(`the type ${definition.type} is malformed`)
  const { payload: read, errors } = registered.readPayload(structuredClone(payload))
  if (errors[0] !== undefined) throw new TypeError(`/payload${errors[0].pointer} ${errors[0].detail}`)
  const { context, reported } = createTestContext(options)
  try {
    const result = ((await registered.run(read, context)) ?? null) as Static<Result>
    const [misfit] = registered.checkResult(result)
    if (misfit !== undefined) throw new PermanentFailure(`the result does not fit: ${misfit.pointer || 'it'} ${misfit.detail}`)
    return { status: 'COMPLETED', result, reported }
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    return { ...judge(definition as unknown as Definition, error, context.attempt), reported }
  }
}

function judge(definition: Definition, error: Error, attempt: number): Exclude<TestOutcome<never>, { status: 'COMPLETED' }> {
  if (error instanceof CancelTask) return { status: 'CANCELLED', error }
  const isLast = attempt >= (definition.attempts ?? DEFAULT_ATTEMPTS)
  const isWorthIt = error instanceof RetryLater || (definition.retryOn?.(error) ?? true)
  if (isLast || !isWorthIt || error instanceof PermanentFailure) return { status: 'FAILED', error }
  const retryInMs = error instanceof RetryLater ? error.delayMs : backoffMs(definition.backoff ?? DEFAULT_BACKOFF, attempt, error)
  return { status: 'RETRYING', error, retryInMs }
}
