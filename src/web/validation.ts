/** Checks requests against their TypeBox schemas. Bodies are taken as they are; text in URLs is converted first. */
import type { FastifySchemaCompiler } from 'fastify'
import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import type { ProblemCode } from '../protocol/errors.js'
import { createChecker } from '../tasks/schema-errors.js'
import { ProblemError } from './problem.js'

const PARTS: Record<string, { code: ProblemCode; name: string; isText: boolean }> = {
  body: { code: 'invalid_request', name: 'body', isText: false },
  params: { code: 'invalid_id', name: 'path', isText: false },
  querystring: { code: 'invalid_request', name: 'query', isText: true },
  headers: { code: 'invalid_request', name: 'headers', isText: true },
}

/** A Fastify validator compiler whose errors are problems that name each field. */
export const compileValidator: FastifySchemaCompiler<TSchema> = ({ schema, httpPart = 'body' }) => {
  const { code, name, isText } = PARTS[httpPart] ?? { code: 'invalid_request', name: httpPart, isText: true }
  const checker = createChecker(schema)
  return (given: unknown) => {
    const value: unknown = isText ? Value.Convert(schema, given) : given
    const errors = checker.check(value)
    if (errors.length === 0) return { value }
    const [first] = errors
    return { error: new ProblemError(code, `The ${name} does not fit: ${first?.pointer || name} ${first?.detail ?? ''}`, errors) }
  }
}
