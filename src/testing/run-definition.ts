/** One attempt of a definition, in memory: no database, no broker, no time that passes. */
import type { Static, TSchema } from 'typebox'
import { backoffMs, DEFAULT_BACKOFF } from '../tasks/backoff.js'
import { DEFAULT_ATTEMPTS, type Definition, type TaskContext } from '../tasks/definition.js'
import { CancelTask, PermanentFailure, RetryLater } from '../tasks/outcome-errors.js'
import { createRegistry, type RegisteredType } from '../tasks/registry.js'
import { createTestContext, type ContextOptions, type EffectPoint, type Reported } from './context.js'

/** How the attempt ended, and what that would mean for the task. */
export type TestOutcome<Result> =
  | { status: 'COMPLETED'; result: Result }
  | { status: 'RETRYING'; error: Error; retryInMs: number }
  | { status: 'FAILED' | 'CANCELLED'; error: Error }
  /** Its worker died, as `crashAt` says: another attempt follows. */
  | { status: 'LOST' }

export type TestRun<Result> = TestOutcome<Result> & { taskId: string; attempt: number; reported: Reported }

export interface RunOptions extends ContextOptions {
  /**
   * Where the worker dies: the effect of `once` has happened and is not recorded (`after-effect:<key>`), it is recorded
   * (`after-record:<key>`), or the handler is done and nobody knows yet (`before-return`).
   */
  crashAt?: EffectPoint | 'before-return'
  /** The attempt before this one: same task, next number, with the effects and files that it has left. */
  after?: TestRun<unknown>
}

/**
 * Checks the payload as `POST /api/tasks` would, fills in its defaults, runs the handler and checks its result.
 *
 * @param options.attempt which attempt it is, and with it whether a failure is the last one. Default 1
 * @throws TypeError when the payload, or the data of a progress report, does not fit
 * @throws Error when the run ends without coming to `crashAt`
 * @example
 * const lost = await runDefinition(welcome, { userId: 'u1' }, { crashAt: 'after-effect:subscribe' })
 * const run = await runDefinition(welcome, { userId: 'u1' }, { after: lost })
 * assert.equal(run.status, 'COMPLETED')
 */
export async function runDefinition<Payload extends TSchema, Result extends TSchema, Progress extends TSchema>(
  definition: Definition<Payload, Result, Progress>,
  payload: unknown = {},
  { crashAt, after, ...options }: RunOptions = {},
): Promise<TestRun<Static<Result>>> {
  const registered = createRegistry([definition as unknown as Definition], definition.type).find(definition.type)
  if (registered === undefined) throw new TypeError(`the type ${definition.type} is malformed`)
  const { payload: read, errors } = registered.readPayload(structuredClone(payload))
  if (errors[0] !== undefined) throw new TypeError(`/payload${errors[0].pointer} ${errors[0].detail}`)
  let die = () => {}
  const death = new Promise<{ status: 'LOST' }>((resolve) => (die = () => resolve({ status: 'LOST' })))
  const { context, reported } = createTestContext({ ...(after && follow(after)), ...options }, {
    checkData(data) {
      const [misfit] = registered.checkProgress(data)
      if (misfit !== undefined) throw new TypeError(`the data of a progress report does not fit: ${misfit.pointer || 'it'} ${misfit.detail}`)
    },
    async reach(point) {
      if (point !== crashAt) return
      die()
      await new Promise(() => {})
    },
  })
  const { taskId, attempt } = context
  const run = runOnce(definition as unknown as Definition, registered, read, context)
  const outcome = await Promise.race([death, crashAt === 'before-return' ? run.then(() => ({ status: 'LOST' }) as const) : run])
  if (crashAt !== undefined && outcome.status !== 'LOST') throw new Error(`the run is ${outcome.status} and never came to ${crashAt}`)
  return { ...(outcome as TestOutcome<Static<Result>>), taskId, attempt, reported }
}

function follow({ taskId, attempt, reported }: TestRun<unknown>): ContextOptions {
  const files = Object.fromEntries([...reported.artifacts].map(([name, { content }]) => [name, content]))
  return { taskId, attempt: attempt + 1, effects: reported.effects, files }
}

async function runOnce(definition: Definition, registered: RegisteredType, payload: unknown, context: TaskContext): Promise<TestOutcome<unknown>> {
  try {
    const result = (await registered.run(payload as never, context)) ?? null
    const [misfit] = registered.checkResult(result)
    if (misfit !== undefined) throw new PermanentFailure(`the result does not fit: ${misfit.pointer || 'it'} ${misfit.detail}`)
    return { status: 'COMPLETED', result }
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    return judge(definition, error, context.attempt)
  }
}

function judge(definition: Definition, error: Error, attempt: number): TestOutcome<never> {
  if (error instanceof CancelTask) return { status: 'CANCELLED', error }
  const isLast = attempt >= (definition.attempts ?? DEFAULT_ATTEMPTS)
  const isWorthIt = error instanceof RetryLater || (definition.retryOn?.(error) ?? true)
  if (isLast || !isWorthIt || error instanceof PermanentFailure) return { status: 'FAILED', error }
  const retryInMs = error instanceof RetryLater ? error.delayMs : backoffMs(definition.backoff ?? DEFAULT_BACKOFF, attempt, error)
  return { status: 'RETRYING', error, retryInMs }
}
