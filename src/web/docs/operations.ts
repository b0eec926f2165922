/**
 * The operations of `/openapi.json`: the request and answers of each route, from the schemas with which it was
 * registered.
 *
 * @fastify/swagger provides the paths, the parameters and the texts. Bodies and answers are added here, because they
 *   refer to the named schemas of the document, and because many are not JSON.
 */
import { STATUS_CODES } from 'node:http'
import type { FastifySchema } from 'fastify'
import { PROBLEMS, Problem } from '../../protocol/errors.js'
import { refer } from './components.js'
import { toPlainSchema, type PlainSchema } from './plain-schema.js'
import { describeRequestHeaders } from './request-headers.js'
import { headersOf } from './response-headers.js'
import { sampleOf } from './sample.js'

interface Operation {
  parameters?: Parameter[]
  requestBody?: object
  responses?: Record<string, object>
}

interface Parameter {
  name: string
  in: string
  schema?: PlainSchema
  example?: unknown
  examples?: unknown
}

/** Errors of any request: refused before routing, or while the server is in trouble. */
const OF_EVERY_CALL = [400, 403, 408, 415, 417, 421, 431, 500, 503]

const FILE = { 'application/octet-stream': { schema: {} } }
const EVENTS = { 'text/event-stream': { schema: { type: 'string' } }, 'text/plain': { schema: { type: 'string' } } }

/** Answers that are not, or not only, JSON. */
const CONTENTS: Readonly<Record<string, object>> = {
  'GET /api/tasks/:id/events 200': EVENTS,
  'GET /api/tasks/events 200': EVENTS,
  'GET /api/tasks/:id/artifacts/:name 200': FILE,
  'GET /api/tasks/:id/artifacts/:name 206': FILE,
  'GET /files/:id/:name 200': FILE,
  'GET /files/:id/:name 206': FILE,
}

const MEANINGS: Readonly<Record<string, string>> = {
  'POST /api/tasks 200':
    'The task has ended within the time of `Prefer: wait`, or an unfinished task with the same unique key exists.',
  'POST /api/tasks 202': 'The task is stored and will run.',
  'POST /api/tasks/batch 202': 'All tasks are stored and will run.',
  'POST /api/tasks/:id/cancel 200': 'The task is CANCELLED.',
  'POST /api/tasks/:id/cancel 202': 'The task is running; its handler was asked to stop.',
  'GET /readyz 503': 'A required service does not answer, or the process is stopping.',
}

/** Completes the operation that @fastify/swagger has made of a route. */
export function completeOperation(operation: Operation, method: string, url: string, schema: FastifySchema): Operation {
  const { parameters = [] } = operation
  const all = [...parameters.map(withExample), ...describeRequestHeaders(method, url)]
  const body = describeBody(method, url, schema.body)
  return {
    ...operation,
    ...(all.length > 0 && { parameters: all as Parameter[] }),
    ...(body && { requestBody: body }),
    responses: describeResponses(method, url, schema.response),
  }
}

/** One example each: its own, the default, or the first of its values. */
function withExample(parameter: Parameter): Parameter {
  const described = { ...parameter, example: parameter.example ?? sampleOf(parameter.schema) }
  // `example` and `examples` must not be used together.
  delete described.examples
  return described
}

function describeBody(method: string, url: string, schema: unknown): object | undefined {
  if (`${method} ${url}` === 'POST /api/uploads')
    return { required: true, description: 'The file, of any media type.', content: { '*/*': { schema: {} } } }
  if (typeof schema !== 'object' || schema === null) return undefined
  const [example] = 'examples' in schema && Array.isArray(schema.examples) ? (schema.examples as unknown[]) : []
  return {
    required: !('~optional' in schema),
    content: { 'application/json': { schema: describe(schema), ...(example !== undefined && { example }) } },
  }
}

function describeResponses(method: string, url: string, given: unknown): Record<string, object> {
  const own = Object.entries((given ?? {}) as Record<string, object>)
  const problems = [
    ...OF_EVERY_CALL,
    ...own.flatMap(([status, schema]) => (schema === Problem ? [Number(status)] : [])),
  ]
  const answers = own.flatMap(([status, schema]) =>
    schema === Problem ? [] : [[status, describeAnswer(method, url, status, schema)] as const],
  )
  return {
    ...Object.fromEntries(problems.map((status) => [status, { $ref: `#/components/responses/${nameOf(status)}` }])),
    ...Object.fromEntries(answers),
    default: { $ref: '#/components/responses/Problem' },
  }
}

function describeAnswer(method: string, url: string, status: string, schema: object): object {
  const call = `${method} ${url} ${status}`
  const headers = headersOf(method, url, status)
  const isEmpty = 'type' in schema && schema.type === 'null'
  const ownText = 'description' in schema && typeof schema.description === 'string' ? schema.description : undefined
  const isFile = CONTENTS[call] === FILE
  return {
    description: MEANINGS[call] ?? ownText ?? STATUS_CODES[Number(status)] ?? status,
    ...(headers && { headers: readHeaders(headers) }),
    ...(!isEmpty && {
      content: { ...(!isFile && { 'application/json': { schema: describe(schema) } }), ...CONTENTS[call] },
    }),
  }
}

/** The error answers, by the name of their status. */
export function describeProblems(): Record<string, object> {
  const statuses = [...new Set(Object.values(PROBLEMS).map(({ status }) => status as number))]
  const ofStatus = statuses.map((status) => [
    nameOf(status),
    describeProblem(
      `${STATUS_CODES[status]}: ${codesOf(status)
        .map((code) => `\`${code}\``)
        .join(', ')}.`,
      String(status),
    ),
  ])
  return {
    ...(Object.fromEntries(ofStatus) as Record<string, object>),
    Problem: describeProblem('Any other error. With 405, `Allow` lists the supported methods.', 'default'),
  }
}

function describeProblem(description: string, status: string): object {
  const headers = headersOf('', '', status)
  return {
    description,
    ...(headers && { headers: readHeaders(headers) }),
    content: { 'application/problem+json': { schema: describe(Problem) } },
  }
}

function codesOf(status: number): string[] {
  return Object.entries(PROBLEMS).flatMap(([code, problem]) => ((problem.status as number) === status ? [code] : []))
}

/** `Not Found` as `NotFound`. */
function nameOf(status: number): string {
  return (STATUS_CODES[status] ?? `Status${status}`).replaceAll(/[^A-Za-z]/g, '')
}

function readHeaders(headers: Record<string, object>): Record<string, object> {
  return Object.fromEntries(Object.entries(headers).map(([name, header]) => [name, describeHeader(header)]))
}

function describeHeader(header: object): object {
  const { description, ...schema } = toPlainSchema(header)
  return { description, schema }
}

function describe(schema: object): PlainSchema {
  const ref = refer(schema)
  return ref === undefined ? toPlainSchema(schema, { refer }) : { $ref: ref }
}
