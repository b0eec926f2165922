/** Reads JSON bodies, and says of one that cannot be taken where it is wrong. */
import type { FastifyInstance } from 'fastify'
import type { Bodies } from './bodies.js'
import { ProblemError } from './problem.js'
import { readBody } from './read-body.js'

/** Takes the place of Fastify's own parser, which only says that a body is not JSON. Must be called before routes are registered. */
export function registerJsonBodies(app: FastifyInstance, bodies: Bodies): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', (request, payload, done) => {
    readBody(request, payload, bodies, (error, bytes) => {
      if (bytes === undefined) return done(error)
      const body = bytes.toString()
      void parse(request, body, (error, value) => done(error && describeMistake(body), value))
    })
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
