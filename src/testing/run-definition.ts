/** One attempt of a definition, in memory: no database, no broker, and time that passes at once. */
import type { Static, TSchema } from 'typebox'
import { DEFAULT_ATTEMPTS, type Definition, type TaskContext } from '../definitions/definition.js'
import { createRegistry, type RegisteredType } from '../definitions/registry.js'
import type { FieldError } from '../protocol/errors.js'
import type { FailureCode } from '../protocol/task.js'
import {
  checkResult,
  explainError,
  fail,
  decideSettlement,
  limitPutBack,
  type AbortReason,
  type Outcome,
} from '../tasks/attempt/outcome.js'
import { createTestClock } from './clock.js'
import { createTestContext, type ContextOptions, type EffectPoint, type Reported } from './context.js'

/** How the attempt ended, and what that would mean for the task. */
export type TestOutcome<Result> =
  | { status: 'COMPLETED'; result: Result }
  | { status: 'RETRYING'; error: Error; retryInMs: number }
  | { status: 'FAILED'; error: Error; code: FailureCode }
  | { status: 'CANCELLED'; error: Error }
  /** Released, as when its worker stops: it runs again. */
  | { status: 'PENDING'; error: Error }
  /** Its worker died at `crashAt`: another attempt follows. */
  | { status: 'LOST' }

export type TestRun<Result> = TestOutcome<Result> & { taskId: string; attempt: number; reported: Reported }

export interface RunOptions extends ContextOptions {
  /**
   * Where the worker dies: the effect of `once` has happened but is not recorded (`after-effect:<key>`), it is recorded
   * (`after-record:<key>`), or the handler is done but its outcome is not stored (`before-return`).
   */
  crashAt?: EffectPoint | 'before-return'
  /** The previous attempt: same task, next number, with the effects and files that it left. */
  after?: TestRun<unknown>
}

/**
 * Checks the payload as `POST /api/tasks` would, fills in its defaults, runs the handler and checks its result.
 *
 * @param options.attempt which attempt it is, and with it whether a failure is the last one. Default 1
 * @throws TypeError if the payload, or the data of a progress report, does not match its schema
 * @throws Error if the run ends without reaching `crashAt`
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
  const registered = register(definition as unknown as Definition)
  const read = readPayload(registered, payload)
  const ending = openEnding()
  const { signal, clock } = startTime(registered.definition, options.signal, ending)
  const { type, attempts: maxAttempts = DEFAULT_ATTEMPTS } = definition
  const task = { type, title: type, payload: read, maxAttempts, ...options.task }
  const { context, reported } = createTestContext(
    { ...(after && follow(after)), ...options, task, signal },
    {
      alive: clock.alive,
      checkData: (data) =>
        assertFits('the data of a progress report does not match its schema:', registered.checkProgress(data)),
      async reach(point) {
        if (point !== crashAt) return
        ending.end({ kind: 'lost' })
        await never
      },
      async sleep(milliseconds) {
        clock.advance(milliseconds)
        signal.throwIfAborted()
        if (ending.isOver()) await never
      },
    },
  )
  const { taskId, attempt } = context
  const ran = runHandler(registered, read, context).then((end) =>
    crashAt === 'before-return' ? ({ kind: 'lost' } as const) : end,
  )
  const end = await Promise.race([ending.ended, ran])
  const outcome = toTestOutcome(end, { id: taskId, attempt }, registered.definition)
  if (crashAt !== undefined && end.kind !== 'lost')
    throw new Error(`the run is ${outcome.status} and never reached ${crashAt}`)
  return { ...(outcome as TestOutcome<Static<Result>>), taskId, attempt, reported }
}

/** `lost`: the outcome is unknown. */
type End = Outcome | { kind: 'lost' }

/** What a handler waits for when its worker has died. */
const never = new Promise<never>(() => {})

function register(definition: Definition): RegisteredType {
  const registered = createRegistry([definition], definition.type).find(definition.type)
  if (registered === undefined) throw new TypeError(`the type ${definition.type} is malformed`)
  return registered
}

function readPayload(registered: RegisteredType, given: unknown): unknown {
  const { payload, errors } = registered.readPayload(structuredClone(given))
  assertFits(
    '',
    errors.map((error) => ({ ...error, pointer: `/payload${error.pointer}` })),
  )
  return payload
}

function assertFits(what: string, [violation]: readonly FieldError[]): void {
  if (violation !== undefined) throw new TypeError(`${what} ${violation.pointer || 'it'} ${violation.detail}`.trim())
}

function follow({ taskId, attempt, reported }: TestRun<unknown>): ContextOptions {
  const { effects, artifacts } = reported
  return { taskId, attempt: attempt + 1, effects, artifacts }
}

/** An end caused from outside the handler. */
function openEnding() {
  let isOver = false
  let resolveEnded: (end: End) => void = () => {}
  return {
    ended: new Promise<End>((resolve) => (resolveEnded = resolve)),
    isOver: () => isOver,
    end(end: End) {
      isOver = true
      resolveEnded(end)
    },
  }
}

function startTime(
  { timeLimits = {} }: Definition,
  given: AbortSignal | undefined,
  ending: ReturnType<typeof openEnding>,
) {
  const controller = new AbortController()
  const { hardMs, heartbeatMs } = timeLimits
  const clock = createTestClock(timeLimits, {
    onSoft: () => controller.abort('time limit' satisfies AbortReason),
    onHard: () => ending.end(fail('time_limit', new Error(`the run took longer than ${hardMs} ms`))),
    onSilence: () => ending.end(fail('no_heartbeat', new Error(`the run sent no heartbeat for ${heartbeatMs} ms`))),
  })
  return { clock, signal: given ? AbortSignal.any([given, controller.signal]) : controller.signal }
}

async function runHandler(registered: RegisteredType, payload: unknown, context: TaskContext): Promise<Outcome> {
  try {
    return checkResult(registered, await registered.run(payload as never, context))
  } catch (thrown) {
    return explainError(thrown, context.signal)
  }
}

/** As a worker would decide it. */
function toTestOutcome(end: End, ref: { id: string; attempt: number }, definition: Definition): TestOutcome<unknown> {
  if (end.kind === 'lost') return { status: 'LOST' }
  const judged = { ...ref, failures: ref.attempt - 1, maxAttempts: definition.attempts ?? DEFAULT_ATTEMPTS }
  const {
    status,
    result,
    retryInMs = 0,
    failure,
    reason,
  } = decideSettlement(judged, limitPutBack(end, { count: 0, waitedMs: 0 }), definition)
  if (status === 'COMPLETED') return { status, result }
  const error = end.kind === 'failed' && end.thrown instanceof Error ? end.thrown : new Error(reason ?? 'cancelled')
  if (status === 'RETRYING') return { status, error, retryInMs }
  return status === 'FAILED' ? { status, error, code: failure?.code ?? 'error' } : { status, error }
}
