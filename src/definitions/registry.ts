/** The task types known to this server, with their schemas compiled once. */
import { availableParallelism } from 'node:os'
import { isPromise } from 'node:util/types'
import { Type } from 'typebox'
import { FieldError } from '../protocol/errors.js'
import type { TypeInfo } from '../protocol/http.js'
import { toStorableText } from '../protocol/text.js'
import { describeWrongDefinition } from './definition-options.js'
import { DEFAULT_ATTEMPTS, DEFAULT_QUEUE, type Definition } from './definition.js'
import { createDefaults } from './fill-defaults.js'
import { callTypeCode } from './handler-scope.js'
import type { ScheduleDefinition } from './schedule.js'
import { createChecker, type Checker } from './schema-errors.js'
import { describeError } from './thrown.js'
import { collectLimits, type DeclaredLimit } from './type-limits.js'

export interface RegisteredType {
  readonly definition: Definition
  /** The queue of its tasks, unless a task names another. */
  readonly queue: string
  /** Most attempts running at the same time in one worker. */
  readonly concurrency: number | undefined
  /** Runs the handler, under a name that shows its type in stacks. */
  readonly run: Definition['run']
  /**
   * The payload with the schema's defaults filled in (in place), and its errors. A missing payload counts as `{}`; the
   * returned object is then shared and must not be changed.
   */
  readPayload(payload: unknown): { payload: unknown; errors: FieldError[] }
  checkResult(result: unknown): FieldError[]
  /** Any data is an error when the type has no schema for it. */
  checkProgress(data: unknown): FieldError[]
}

export interface Registry {
  /** The type of a task created without one. */
  readonly defaultType: string
  find(type: string): RegisteredType | undefined
  list(): TypeInfo[]
  /** The types that clients may create. */
  creatableTypes(): string[]
  all(): RegisteredType[]
  /**
   * The queues that tasks may name: the default one, those of the types, and those passed to `createRegistry`. Each
   * costs connections, so the set is limited.
   */
  readonly queues: ReadonlySet<string>
  /**
   * The queues of internal types, which no task may name, each with its number of concurrent attempts in one worker.
   */
  readonly internalQueues: ReadonlyMap<string, number>
  /** The limits over all workers that the types declare. */
  readonly declaredLimits: readonly DeclaredLimit[]
  /** The schedules that the project defines. */
  readonly schedules: readonly ScheduleDefinition[]
  /** The number of concurrent attempts of a queue in one worker, where a type bounds it. */
  limitsByQueue(): Map<string, number>
}

/**
 * @param queues further queues that tasks may name
 * @throws Error when two definitions share a type, a name is malformed, limits of one name differ, or the default is not among them
 */
export function createRegistry(
  definitions: readonly Definition[],
  defaultType: string,
  queues: readonly string[] = [],
  schedules: readonly ScheduleDefinition[] = [],
): Registry {
  const types = new Map<string, RegisteredType>()
  for (const definition of definitions) {
    const wrong = describeWrongDefinition(definition)
    if (wrong !== undefined) throw new Error(wrong)
    if (types.has(definition.type)) throw new Error(`task type "${definition.type}" is defined twice`)
    types.set(definition.type, register(definition))
  }
  if (!types.has(defaultType)) throw new Error(`the default task type "${defaultType}" is not defined`)
  const internalQueues = findInternalQueues([...types.values()])
  const allQueues = [DEFAULT_QUEUE, ...[...types.values()].map(({ queue }) => queue), ...queues]
  return {
    defaultType,
    queues: new Set(allQueues.filter((queue) => !internalQueues.has(queue))),
    internalQueues,
    declaredLimits: collectLimits(definitions),
    schedules,
    find: (type) => types.get(type),
    all: () => [...types.values()],
    limitsByQueue: () =>
      new Map(
        [...types.values()].flatMap(({ queue, concurrency }) =>
          concurrency === undefined ? [] : [[queue, concurrency]],
        ),
      ),
    creatableTypes: () =>
      [...types.values()].flatMap(({ definition: { type, isInternal = false } }) => (isInternal ? [] : [type])),
    list: () =>
      [...types.values()].map(
        ({
          queue,
          definition: {
            type,
            title,
            description,
            payload,
            result,
            progress = null,
            attempts = DEFAULT_ATTEMPTS,
            isolation = 'none',
            timeLimits = {},
            isInternal = false,
          },
        }) => ({
          type,
          title,
          description,
          isDefault: type === defaultType,
          isInternal,
          queue,
          attempts,
          isolation,
          timeLimits: { ...timeLimits },
          payload,
          result,
          progress,
        }),
      ),
  }
}

function findInternalQueues(types: readonly RegisteredType[]): Map<string, number> {
  return new Map(
    types.flatMap(({ queue, concurrency, definition }) =>
      definition.isInternal === true && concurrency !== undefined ? [[queue, concurrency] as const] : [],
    ),
  )
}

function register(definition: Definition): RegisteredType {
  const payloads: Checker = createChecker(definition.payload)
  const results: Checker = createChecker(definition.result)
  const reports: Checker | undefined = definition.progress && createChecker(definition.progress)
  const fillIn = createDefaults(definition.payload)
  const read = (given: unknown) => {
    const payload = fillIn(given)
    const errors = payloads.check(payload)
    return { payload, errors: errors.length > 0 ? errors : checkFurther(definition, payload) }
  }
  let ofMissing: ReturnType<typeof read> | undefined
  return {
    definition,
    queue: queueOf(definition),
    concurrency: concurrencyOf(definition),
    run: nameRun(definition),
    readPayload: (given) => (given === undefined ? (ofMissing ??= read({})) : read(given)),
    checkResult: (result) => results.check(result),
    checkProgress: (data) =>
      reports?.check(data) ?? [{ pointer: '', detail: 'has no schema: the type has no `progress`' }],
  }
}

/** Runs the type's own check. The payload fits only if the check returns no errors, whatever else it does. */
function checkFurther({ type, checkPayload }: Definition, payload: unknown): FieldError[] {
  if (checkPayload === undefined) return []
  try {
    // A copy: what it changes or keeps is not what is stored.
    return readErrors(callTypeCode(type, () => checkPayload(structuredClone(payload) as never)))
  } catch (error) {
    return [
      {
        pointer: '',
        detail: `cannot be checked: checkPayload of ${type} failed for it (${describeError(error).message})`,
        fix: 'Send another payload, or ask the operator to correct the type.',
      },
    ]
  }
}

const returnedErrors = createChecker(
  Type.Array(Type.Object({ ...FieldError.properties, pointer: Type.String({ pattern: '^(/|$)' }) })),
)

/** What is passed on of the errors of `checkPayload`, and the length of their texts in characters. */
const MAX_ERRORS = 50
const MAX_ERROR_LENGTH = 1_000

/** @throws Error if this is not what `checkPayload` may return */
function readErrors(returned: unknown): FieldError[] {
  if (isPromise(returned)) {
    returned.catch(() => {}) // the refusal already says what is wrong
    throw new Error('it returned a promise, but must return its errors directly')
  }
  const [wrong] = returnedErrors.check(returned)
  if (wrong)
    throw new Error(`it must return an array of { pointer, detail, fix? }: ${wrong.pointer || 'it'} ${wrong.detail}`)
  return (returned as FieldError[]).slice(0, MAX_ERRORS).map(({ pointer, detail, fix }) => ({
    pointer: toStorableText(pointer, MAX_ERROR_LENGTH),
    detail: toStorableText(detail, MAX_ERROR_LENGTH),
    ...(fix && { fix: toStorableText(fix, MAX_ERROR_LENGTH) }),
  }))
}

/** Stacks of code running in a handler lead to a function called "task <type>". */
function nameRun(definition: Definition): Definition['run'] {
  const name = `task ${definition.type}`
  const named: Record<string, Definition['run']> = {
    [name]: async (payload, context) => await definition.run(payload, context),
  }
  return named[name] ?? definition.run
}

/** A type with a concurrency has its own queue, so that its waiting tasks do not hold up others. */
function queueOf(definition: Definition): string {
  const { type, queue } = definition
  if (queue !== undefined) return queue
  return concurrencyOf(definition) === undefined ? DEFAULT_QUEUE : type.replaceAll('.', '-').slice(0, 50)
}

/** With a process for each attempt: as many as there are processors, unless the type sets another number. */
function concurrencyOf({ concurrency, isolation, queue }: Definition): number | undefined {
  if (concurrency !== undefined || queue !== undefined) return concurrency
  return isolation === 'process' ? availableParallelism() : undefined
}
