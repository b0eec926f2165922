/**
 * Reads JSON bodies, and reports the location of an error in one that is refused. Where the body is optional, an empty
 * one is no body, whatever type it is said to have.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { findInexactNumber } from '../../protocol/exact-numbers.js'
import { ProblemError } from '../problem.js'
import type { Bodies } from './body-budget.js'
import { BODY_BOUNDS, JsonBoundError, readJson } from './json-text.js'
import { readBody } from './read-body.js'

/** In bytes. After parsing a longer body, other work gets its turn first. */
const LONG_BODY_LENGTH = 64 * 1024

/** Replaces Fastify's own parser, which only says that a body is not JSON. Call it before routes are registered. */
export function registerJsonBodies(app: FastifyInstance, bodies: Bodies): void {
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', (request, payload, done) => {
    readBody(request, payload, bodies, (error, bytes) => {
      if (bytes === undefined) return done(error)
      try {
        const value = readValue(bytes, hasOptionalBody(request))
        if (bytes.length < LONG_BODY_LENGTH) done(null, value)
        else setImmediate(done, null, value)
      } catch (problem) {
        done(problem as ProblemError)
      }
    })
  })
  app.addContentTypeParser('*', (request, payload, done) => {
    if (request.is404) return done(null)
    const wrong = new ProblemError('unsupported_media_type', 'The body must be application/json.')
    if (!hasOptionalBody(request) || Number(request.headers['content-length']) > 0) return done(wrong)
    readBody(request, payload, bodies, (error, bytes) =>
      bytes?.length === 0 ? done(null, undefined) : done(error ?? wrong),
    )
  })
}

/** Also that of a route which takes none. */
function hasOptionalBody({ routeOptions: { schema } }: FastifyRequest): boolean {
  const body: unknown = schema?.body
  return typeof body !== 'object' || body === null || '~optional' in body
}

const BYTE_ORDER_MARK = '\ufeff'

const NOTHING = /^\s*$/

/** JSON between programs is UTF-8 (RFC 8259, section 8.1); one byte order mark is ignored. @throws ProblemError */
function readValue(bytes: Uint8Array, isOptional: boolean): unknown {
  const body = readUtf8(bytes)
  if (isOptional && NOTHING.test(body)) return undefined
  // The decoder removes the first one, and the parser would remove a second.
  if (body.startsWith(BYTE_ORDER_MARK))
    throw new ProblemError('invalid_json', 'The body begins with more than one byte order mark. Send none.')
  const value = parse(body)
  const inexact = findInexactNumber(body)
  if (inexact === undefined) return value
  const { pointer, number, kept } = inexact
  // A number may have any number of digits.
  const shown = number.length > 50 ? `${number.slice(0, 50)}…` : number
  throw new ProblemError('inexact_number', `The number ${shown} at ${pointer || 'the top'} would lose precision.`, [
    {
      pointer,
      detail: `${shown} would be stored as ${kept}`,
      fix: 'Send it as a string, or as a number that 64-bit floating point can represent.',
    },
  ])
}

function parse(body: string): unknown {
  try {
    return readJson(body, BODY_BOUNDS)
  } catch (error) {
    throw error instanceof JsonBoundError
      ? new ProblemError('too_complex', `The body ${error.message}.`)
      : describeMistake(body)
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true })

function readUtf8(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes)
  } catch {
    throw new ProblemError('invalid_json', 'The body is not UTF-8. Encode it in UTF-8, the only encoding of JSON.')
  }
}

function describeMistake(body: string): ProblemError {
  if (body.trim() === '') return new ProblemError('invalid_json', 'The body is empty.')
  try {
    JSON.parse(body)
  } catch (error) {
    return new ProblemError('invalid_json', `The body is not JSON: ${(error as Error).message}`)
  }
  // It is valid JSON, but has a field that could pollute the prototype of every object.
  return new ProblemError(
    'invalid_json',
    'The body has a forbidden field: "__proto__", or "constructor" with "prototype" in it.',
  )
}
