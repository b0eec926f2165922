/** Says in words what a value lacks to fit its schema. */
import type { TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import type { FieldError } from '../protocol/errors.js'
import { escapePointer } from '../protocol/text.js'

/** As TypeBox and JSON Schema validators report it. */
export interface SchemaError {
  keyword: string
  instancePath: string
  schemaPath?: string
  params?: unknown
  message?: string
}

export interface Checker {
  /** What is wrong with the value; empty when it fits. */
  check(value: unknown): FieldError[]
}

/** Compiles a schema once. */
export function createChecker(schema: TSchema): Checker {
  const validator: Validator = Compile(schema)
  return {
    check(value) {
      return validator.Check(value) ? [] : describeErrors(validator.Errors(value), schema)
    },
  }
}

/** One line per field: for a union only that it fits none of its members, for an unknown member only that it is unknown. */
function describeErrors(errors: readonly SchemaError[], schema: TSchema): FieldError[] {
  const found = new Map<string, FieldError>()
  for (const error of errors) {
    for (const field of describeError(error, schema)) {
      const isSummary = error.keyword === 'anyOf'
      if (isSummary || !found.has(field.pointer)) found.set(field.pointer, field)
    }
  }
  return [...found.values()]
}

function describeError({ keyword, instancePath, schemaPath = '', params, message = 'does not fit' }: SchemaError, schema: TSchema): FieldError[] {
  const details = (params ?? {}) as Record<string, unknown>
  switch (keyword) {
    case 'boolean':
      // TypeBox reports an unknown member twice: as `false` at the member, and as `additionalProperties` at its object.
      return []
    case 'additionalProperties':
      return namesOf(details['additionalProperties'] ?? details['additionalProperty']).map((name) => ({
        pointer: `${instancePath}/${escapePointer(name)}`,
        detail: 'is not known here',
        fix: 'Remove it, or check its spelling.',
      }))
    case 'required':
      return namesOf(details['requiredProperties'] ?? details['missingProperty']).map((name) => ({
        pointer: `${instancePath}/${escapePointer(name)}`,
        detail: 'is missing',
      }))
    case 'pattern': {
      // A pattern says little to people; an example does.
      const [example] = findExamples(schema, schemaPath)
      return [{ pointer: instancePath, detail: example === undefined ? message : `must look like ${example}` }]
    }
    case 'enum':
      return [{ pointer: instancePath, detail: `must be one of ${namesOf(details['allowedValues']).join(', ')}` }]
    default:
      return [{ pointer: instancePath, detail: message }]
  }
}

/** Of the schema at this path, such as `#/properties/to/items`. */
function findExamples(schema: TSchema, path: string): unknown[] {
  let at: unknown = schema
  for (const step of path.split('/').slice(1)) at = (at as Record<string, unknown> | undefined)?.[step.replaceAll('~1', '/').replaceAll('~0', '~')]
  const { examples } = (at ?? {}) as { examples?: unknown }
  return Array.isArray(examples) ? examples : []
}

function namesOf(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).map(String)
}
