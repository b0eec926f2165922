/** Validates requests against their TypeBox schemas. Bodies are taken as they are; text in URLs is converted first. */
import type { FastifyInstance, FastifySchemaCompiler } from 'fastify'
import { Type, type TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { createChecker } from '../definitions/schema-errors.js'
import type { FieldError, ProblemCode } from '../protocol/errors.js'
import { ProblemError } from './problem.js'

const PARTS: Record<string, { code: ProblemCode; name: string; isText: boolean }> = {
  body: { code: 'invalid_request', name: 'body', isText: false },
  params: { code: 'invalid_id', name: 'path', isText: false },
  querystring: { code: 'invalid_request', name: 'query', isText: true },
}

/** A Fastify validator compiler whose errors are problems that name each field. */
export const compileValidator: FastifySchemaCompiler<TSchema> = ({ schema, httpPart = 'body' }) => {
  // Headers are optional, and each is read by the code that uses it; the schema is for the documents.
  if (httpPart === 'headers') return (value: unknown) => ({ value })
  const { code, name, isText } = PARTS[httpPart] ?? { code: 'invalid_request', name: httpPart, isText: true }
  const checker = createChecker(schema)
  return (given: unknown) => {
    const value: unknown = isText ? convertText(schema, given) : given
    const found = checker.check(value)
    const errors = isText ? found.map((error) => explainRepetition(error, schema, given)) : found
    if (errors.length === 0) return { value }
    const [first] = errors
    // Only ids of tasks, batches and workers are called so. Other parts of a path are names.
    const isName = code === 'invalid_id' && first?.pointer !== '/id'
    return {
      error: new ProblemError(
        isName ? 'invalid_request' : code,
        `The ${name} is invalid: ${first?.pointer || name} ${first?.detail ?? ''}`,
        errors,
      ),
    }
  }
}

/** The query of a route that takes no parameters. */
export const NO_QUERY = Type.Object({}, { additionalProperties: false })

/**
 * From now on, routes of the API without a schema for the query refuse every parameter, as the others do with unknown
 * ones. A page, a document or a file takes any.
 */
export function closeQueries(app: FastifyInstance): void {
  app.addHook('onRoute', ({ schema }) => {
    if (schema !== undefined && schema.hide !== true) schema.querystring ??= NO_QUERY
  })
}

/** A parameter that is in the query several times is read as an array, which the client did not send. */
function explainRepetition(error: FieldError, schema: { properties?: object }, given: unknown): FieldError {
  const { pointer } = error
  const name = pointer.slice(1)
  const isKnown = Object.hasOwn(schema.properties ?? {}, name)
  const isRepeated = isKnown && Array.isArray((given as Record<string, unknown>)[name])
  return isRepeated ? { pointer, detail: 'is given more than once', fix: 'Send it once.' } : error
}

/**
 * Converts the text of a URL to what the schema requires. A number that would lose precision ("1.5" as an integer)
 * stays text, and is refused.
 */
function convertText(schema: TSchema, given: unknown): unknown {
  const converted: unknown = Value.Convert(schema, structuredClone(given))
  if (typeof converted !== 'object' || converted === null || typeof given !== 'object' || given === null)
    return converted
  const texts = new Map<string, unknown>(Object.entries(given))
  const isExact = ([key, value]: [string, unknown]) => typeof value !== 'number' || String(value) === texts.get(key)
  return Object.fromEntries(
    Object.entries(converted).map((entry) => (isExact(entry) ? entry : [entry[0], texts.get(entry[0])])),
  )
}
