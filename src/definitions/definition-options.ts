/** Checks the options of a definition when types are registered, because the project may not be type-checked. */
import { Type, type TSchema } from 'typebox'
import { MAX_PRIORITY } from '../protocol/limits.js'
import { LimitName, Per, Rate, WhenOver } from '../protocol/release.js'
import { QueueName, TaskType } from '../protocol/task.js'
import { MAX_TIMER_MS } from '../timing/pause.js'
import type { Definition } from './definition.js'
import { createChecker } from './schema-errors.js'
import { describeWrongLimits } from './type-limits.js'

const Milliseconds = Type.Number({ minimum: 0 })
const Limit = Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_TIMER_MS }))
const closed = { additionalProperties: false } as const

/** The options that are data; see `Definition`. */
const DATA: Partial<Record<keyof Definition, TSchema>> = {
  type: TaskType,
  title: Type.String({ minLength: 1 }),
  description: Type.String(),
  isInternal: Type.Boolean(),
  queue: QueueName,
  priority: Type.Integer({ minimum: 0, maximum: MAX_PRIORITY }),
  attempts: Type.Integer({ minimum: 1, maximum: 1_000 }),
  timeLimits: Type.Object({ softMs: Limit, hardMs: Limit, heartbeatMs: Limit }, closed),
  putBackLimitMs: Milliseconds,
  concurrency: Type.Integer({ minimum: 1, maximum: 1_000 }),
  limits: Type.Array(
    Type.Object(
      {
        name: Type.Optional(LimitName),
        per: Type.Optional(Per),
        concurrency: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000 })),
        rate: Type.Optional(Rate),
        whenOver: Type.Optional(WhenOver),
      },
      closed,
    ),
  ),
  isolation: Type.Enum(['none', 'process']),
  memoryLimitMb: Type.Integer({ minimum: 32 }),
}
const Exponential = Type.Object(
  { kind: Type.Literal('exponential'), firstMs: Type.Optional(Milliseconds), maxMs: Type.Optional(Milliseconds) },
  closed,
)
const Fixed = Type.Object({ kind: Type.Literal('fixed'), delayMs: Milliseconds }, closed)
const checkers = new Map(Object.entries(DATA).map(([name, schema]) => [name, createChecker(schema)]))
const backoffs = { exponential: createChecker(Exponential), fixed: createChecker(Fixed) }

const REQUIRED = ['type', 'title', 'description', 'payload', 'result', 'run'] as const
const SCHEMAS: readonly string[] = ['payload', 'result', 'progress']
const FUNCTIONS: readonly string[] = ['run', 'checkPayload', 'retryOn', 'uniqueBy', 'concurrencyKeyBy', 'sequenceKeyBy']
const KNOWN: readonly string[] = [...Object.keys(DATA), ...SCHEMAS, ...FUNCTIONS, 'backoff']

/** Describes the first error in a definition, with its type; undefined when there is none. */
export function describeWrongDefinition(definition: object): string | undefined {
  const wrong = findWrongOption(definition)
  if (wrong === undefined) return undefined
  const name = `task type "${String((definition as Partial<Definition>).type)}"`
  return wrong.startsWith('type must') ? `${name} ${wrong.slice('type '.length)}` : `${name}: ${wrong}`
}

function findWrongOption(definition: object): string | undefined {
  const options = definition as Record<string, unknown>
  // Unknown names first, because a misspelt name explains why another is missing.
  const unknown = Object.keys(options).find((name) => !KNOWN.includes(name))
  if (unknown !== undefined) return `has no option "${unknown}"; ${suggest(unknown)}`
  for (const name of KNOWN) {
    const wrong =
      options[name] === undefined
        ? (REQUIRED as readonly string[]).includes(name) && 'is missing'
        : describeWrong(name, options[name])
    if (wrong) return `${name} ${wrong}${wrong === 'is missing' ? `: expected ${expectedOf(name)}` : ''}`
  }
  const wrongLimit = describeWrongLimits(definition as Definition)
  return wrongLimit === undefined ? findWrongPair(definition as Definition) : `limits ${wrongLimit}`
}

function describeWrong(name: string, value: unknown): string | undefined {
  if (FUNCTIONS.includes(name))
    return typeof value === 'function' ? undefined : `is not a function: expected ${expectedOf(name)}`
  if (SCHEMAS.includes(name))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? undefined
      : `is not a schema: expected ${expectedOf(name)}`
  if (name === 'backoff') return describeWrongBackoff(value)
  const [error] = checkers.get(name)?.check(value) ?? []
  return error && `${error.pointer.slice(1)} ${error.detail}`.trim()
}

function describeWrongBackoff(value: unknown): string | undefined {
  if (typeof value === 'function') return undefined
  const { kind } = (value ?? {}) as { kind?: unknown }
  if (kind !== 'exponential' && kind !== 'fixed')
    return "must be { kind: 'exponential', firstMs, maxMs }, { kind: 'fixed', delayMs } or a function"
  const [error] = backoffs[kind].check(value)
  return error && `${error.pointer.slice(1)} ${error.detail}`.trim()
}

function expectedOf(name: string): string {
  if (SCHEMAS.includes(name))
    return `a TypeBox schema, such as ${name === 'result' ? 'Type.Null()' : 'Type.Object({})'}`
  return FUNCTIONS.includes(name) ? 'a function' : 'a text'
}

function findWrongPair({
  queue,
  concurrency,
  isolation,
  memoryLimitMb,
  timeLimits = {},
}: Definition): string | undefined {
  if (queue !== undefined && concurrency !== undefined)
    return 'queue and concurrency exclude each other: a type with a concurrency has a queue of its own. Remove one of them'
  if (memoryLimitMb !== undefined && isolation !== 'process') return "memoryLimitMb needs isolation: 'process'"
  return (timeLimits.softMs ?? 0) > (timeLimits.hardMs ?? Infinity)
    ? 'timeLimits.softMs is larger than hardMs'
    : undefined
}

function suggest(unknown: string): string {
  const [nearest = '', distance = Infinity] =
    KNOWN.map((name) => [name, editDistance(unknown.toLowerCase(), name.toLowerCase())] as const).sort(
      ([, a], [, b]) => a - b,
    )[0] ?? []
  return distance <= Math.max(2, nearest.length / 2)
    ? `did you mean "${nearest}"?`
    : `the options are ${KNOWN.join(', ')}`
}

/** @see https://en.wikipedia.org/wiki/Levenshtein_distance */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (const [index, letter] of [...from].entries()) {
    const next = [index + 1]
    for (let at = 1; at <= to.length; at += 1)
      next.push(
        Math.min((row[at] ?? 0) + 1, (next[at - 1] ?? 0) + 1, (row[at - 1] ?? 0) + (letter === to[at - 1] ? 0 : 1)),
      )
    row = next
  }
  return row[to.length] ?? 0
}
