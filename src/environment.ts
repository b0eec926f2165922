/**
 * Reads environment variables by a schema. The property `databasePoolSize` is the variable `DATABASE_POOL_SIZE`. An
 * empty variable counts as unset, and variables without a property are ignored. `<NAME>_FILE` names a file that holds
 * the value, which is how containers receive secrets; the variable itself takes precedence.
 */
import { readFileSync } from 'node:fs'
import { Type, type Static, type TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { StartupError } from './startup-error.js'

export type Environment = Readonly<Record<string, string | undefined>>

/** A value that cannot be used. */
export interface ConfigProblem {
  /** The variable, or the two whose relation is wrong. */
  name: string
  /** As given, with passwords masked; undefined when missing or secret. */
  value: string | undefined
  /** Whether there is a value that must not be shown. */
  isHidden?: boolean
  /** What is expected, and the default. */
  expected: string
}

/** Wrong configuration: one line per wrong value. */
export class ConfigError extends StartupError {
  override readonly name: string = 'ConfigError'
  constructor(readonly problems: readonly ConfigProblem[]) {
    super(
      problems
        .map(({ name, value, isHidden, expected }) => {
          const given = isHidden
            ? ' is wrong (its value is not shown)'
            : value === undefined
              ? ' is missing'
              : `=${value}`
          return `${name}${given}: expected ${expected}`
        })
        .join('\n'),
    )
  }
}

/** A property's annotations in the schema, for people. */
export interface Annotations {
  description: string
  expected: string
  default?: string | number | boolean
  /** Whether the value is or contains a secret; it is then never printed. */
  isSecret?: boolean
}

/**
 * The values of a schema's properties with defaults filled in, and all problems with them. A value with a problem does
 * not have its declared type.
 */
export function readEnvironment<Schema extends Type.TObject>(
  schema: Schema,
  env: Environment,
): { values: Static<Schema>; problems: ConfigProblem[] } {
  const given = Object.fromEntries(Object.keys(schema.properties).flatMap((key) => readVariable(env, key)))
  const parsed = Object.fromEntries(
    Object.entries(given).map(([key, text]) => [key, parse(propertyOf(schema, key), text)]),
  )
  const values = Value.Default(schema, parsed)
  return { values: values as Static<Schema>, problems: findWrongValues(schema, values, given) }
}

function readVariable(env: Environment, key: string): [string, string][] {
  const name = variableName(key)
  const text = env[name] || readValueFile(`${name}_FILE`, env[`${name}_FILE`])
  return text === undefined || text === '' ? [] : [[key, text]]
}

/** @throws StartupError when the file cannot be read, because a secret that was given must not count as unset */
function readValueFile(name: string, file: string | undefined): string | undefined {
  if (file === undefined || file === '') return undefined
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    throw new StartupError(
      `${name}=${file}: cannot read the file (${(error as NodeJS.ErrnoException).code}). Name a file that the user of this process can read.`,
    )
  }
}

/** Leaves a text that does not have the form of its type unchanged, so that the schema refuses it. */
function parse(schema: TSchema, text: string): unknown {
  if (Type.IsInteger(schema) && /^-?\d{1,15}$/.test(text)) return Number(text)
  if (Type.IsBoolean(schema) && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

function findWrongValues(schema: Type.TObject, config: unknown, given: Record<string, string>): ConfigProblem[] {
  const values = config as Record<string, unknown>
  return Object.keys(schema.properties)
    .filter(
      (key) => !(key in values ? Value.Check(propertyOf(schema, key), values[key]) : !schema.required?.includes(key)),
    )
    .map((key) => {
      const { expected, default: initial, isSecret = false } = annotationsOf(schema, key)
      const text = given[key]
      const remark = initial === undefined || initial === '' ? '' : ` (default ${initial})`
      return {
        name: variableName(key),
        value: text === undefined || isSecret ? undefined : maskPassword(text),
        isHidden: isSecret && text !== undefined,
        expected: expected + remark,
      }
    })
}

/** Keeps passwords out of terminals and logs, also those in malformed URLs. */
function maskPassword(text: string): string {
  return text
    .replace(/^([a-z]+:\/\/)?([^:@/]*):.*@/i, '$1$2:***@')
    .replace(/(password=)[^&]*/gi, '$1***')
    .slice(0, 200)
}

export function variableName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

function propertyOf(schema: Type.TObject, key: string): TSchema {
  return (schema.properties as Record<string, TSchema>)[key] ?? Type.Never()
}

export function annotationsOf(schema: Type.TObject, key: string): Annotations {
  return propertyOf(schema, key) as unknown as Annotations
}

/** The parts of a text separated by commas. */
export function splitList(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}
