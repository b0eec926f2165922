/** The types of task this server knows, with their schemas compiled once. */
import { Value } from 'typebox/value'
import type { FieldError } from '../protocol/errors.js'
import type { TypeInfo } from '../protocol/http.js'
import { TaskType } from '../protocol/task.js'
import type { Definition } from './definition.js'
import { createChecker, type Checker } from './schema-errors.js'

export interface RegisteredType {
  readonly definition: Definition
  /** Runs the handler, under a name that shows its type in stacks. */
  readonly run: Definition['run']
  /** The payload with the schema's defaults filled in (in place), and what is wrong with it. No payload counts as `{}`; do not change what is returned then. */
  readPayload(payload: unknown): { payload: unknown; errors: FieldError[] }
  checkResult(result: unknown): FieldError[]
}

export interface Registry {
  /** The type of a task created without one. */
  readonly defaultType: string
  find(type: string): RegisteredType | undefined
  list(): TypeInfo[]
}

/** @throws Error when two definitions share a type, a name is malformed, or the default is not among them */
export function createRegistry(definitions: readonly Definition[], defaultType: string): Registry {
  const name = createChecker(TaskType)
  const types = new Map<string, RegisteredType>()
  for (const definition of definitions) {
    const [error] = name.check(definition.type)
    if (error !== undefined) throw new Error(`task type "${definition.type}" ${error.detail}`)
    if (types.has(definition.type)) throw new Error(`task type "${definition.type}" is defined twice`)
    types.set(definition.type, register(definition))
  }
  if (!types.has(defaultType)) throw new Error(`the default task type "${defaultType}" is not defined`)
  return {
    defaultType,
    find: (type) => types.get(type),
    list: () =>
      [...types.values()].map(({ definition: { type, title, description, payload, result } }) => ({
        type,
        title,
        description,
        isDefault: type === defaultType,
        payload,
        result,
      })),
  }
}

function register(definition: Definition): RegisteredType {
  const payloads: Checker = createChecker(definition.payload)
  const results: Checker = createChecker(definition.result)
  const read = (given: unknown) => {
    const payload: unknown = Value.Default(definition.payload, given)
    return { payload, errors: payloads.check(payload) }
  }
  const none = read({})
  return {
    definition,
    run: nameRun(definition),
    readPayload: (given) => (given === undefined ? none : read(given)),
    checkResult: (result) => results.check(result),
  }
}

/** The stack of whatever goes on in a handler leads to a function called "task <type>". */
function nameRun(definition: Definition): Definition['run'] {
  const name = `task ${definition.type}`
  const named: Record<string, Definition['run']> = { [name]: async (payload, context) => await definition.run(payload, context) }
  return named[name] ?? definition.run
}
