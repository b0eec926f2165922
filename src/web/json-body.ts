/** Reads JSON bodies, and says of one that cannot be taken where it is wrong. */
import type { FastifyInstance } from 'fastify'
import { BODY_BOUNDS, JsonBoundError, readJson } from './json-text.js'
import { ProblemError } from './problem.js'

/** What follows the parsing of a longer body takes its turn after what else is ready. */
const LONG_BODY_LENGTH = 64 * 1024

/** Takes the place of Fastify's own parser, which only says that a body is not JSON. Must be called before routes are registered. */
export function registerJsonBodies(app: FastifyInstance): void {
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body: string, done) => {
    let value: unknown
    try {
      value = readJson(body, BODY_BOUNDS)
    } catch (error) {
      return done(error instanceof JsonBoundError ? new ProblemError('too_complex', `The body ${error.message}.`) : describeMistake(body))
    }
    if (body.length < LONG_BODY_LENGTH) done(null, value)
    else setImmediate(done, null, value)
  })
}

function describeMistake(body: string): ProblemError {
  if (body.trim() === '') return new ProblemError('invalid_json', 'The body is empty.')
  try {
    JSON.parse(body)
  } catch (error) {
    return new ProblemError('invalid_json', `The body is not JSON: ${(error as Error).message}`)
  }
  // It is JSON after all, with a field that could change what every object of a program inherits.
  return new ProblemError('invalid_json', 'The body has a field that is never taken: "__proto__", or "constructor" with "prototype" in it.')
}
