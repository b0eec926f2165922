/** Describes in words what one keyword of a schema refuses. */
import type { TSchema } from 'typebox'
import type { FieldError } from '../protocol/errors.js'
import { PATTERN_WORDS } from '../protocol/storable.js'
import { escapePointer } from '../protocol/text.js'

/** A violation as reported by TypeBox and JSON Schema validators. */
export interface Violation {
  keyword: string
  instancePath: string
  schemaPath?: string
  params?: unknown
  message?: string
}

export const UNKNOWN_FIELD = { detail: 'is not known here', fix: 'Remove it, or check its spelling.' } as const

/** Empty when another keyword reports the same error. Pointers begin at the checked value. */
export function describeViolation(
  { keyword, instancePath, schemaPath = '', params, message = 'does not fit' }: Violation,
  schema: TSchema,
): FieldError[] {
  const details = (params ?? {}) as Record<string, unknown>
  switch (keyword) {
    case 'boolean':
      // TypeBox reports an unknown member twice: as `false` at the member, and as `additionalProperties` at its object.
      return []
    case 'additionalProperties':
      return namesOf(details['additionalProperties'] ?? details['additionalProperty']).map((name) => ({
        pointer: `${instancePath}/${escapePointer(name)}`,
        ...UNKNOWN_FIELD,
      }))
    case 'required':
      return namesOf(details['requiredProperties'] ?? details['missingProperty']).map((name) => ({
        pointer: `${instancePath}/${escapePointer(name)}`,
        detail: 'is missing',
      }))
    case 'pattern': {
      // A pattern tells people little; words or an example help.
      const [example] = findExamples(schema, schemaPath)
      const words = PATTERN_WORDS[String(details['pattern'])]
      return [
        { pointer: instancePath, detail: words ?? (example === undefined ? message : `must look like ${example}`) },
      ]
    }
    case 'enum':
      return [{ pointer: instancePath, detail: `must be one of ${namesOf(details['allowedValues']).join(', ')}` }]
    default:
      return [{ pointer: instancePath, detail: message }]
  }
}

/** Examples of the schema at this path, e.g. `#/properties/to/items`. */
function findExamples(schema: TSchema, path: string): unknown[] {
  let at: unknown = schema
  for (const step of path.split('/').slice(1))
    at = (at as Record<string, unknown> | undefined)?.[step.replaceAll('~1', '/').replaceAll('~0', '~')]
  const { examples } = (at ?? {}) as { examples?: unknown }
  return Array.isArray(examples) ? examples : []
}

function namesOf(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).map(String)
}
