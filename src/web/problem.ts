/** Errors for clients: RFC 9457 problem details, from the table in `protocol/errors.ts`. */
import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { isConflict } from '../db/conflict.js'
import { isRefusedData } from '../db/refused-data.js'
import { isUnavailable } from '../db/unavailable.js'
import { linkAddresses, linkTo } from '../protocol/base-path.js'
import { PROBLEMS, type FieldError, type Problem, type ProblemCode } from '../protocol/errors.js'
import { NewTaskError } from '../tasks/create/new-task.js'
import { KeyReusedError } from '../tasks/create/task-creator.js'

/** An error with an entry in the table. It may be thrown anywhere in a request; the error handler answers it. */
export class ProblemError extends Error {
  readonly code: ProblemCode
  readonly statusCode: number
  readonly errors: readonly FieldError[] | undefined

  constructor(code: ProblemCode, detail: string, errors?: readonly FieldError[]) {
    super(detail)
    this.name = 'ProblemError'
    this.code = code
    this.statusCode = PROBLEMS[code].status
    this.errors = errors
  }
}

const CONTENT_TYPE = 'application/problem+json; charset=utf-8'
/** Headers of every answer. @see https://fetch.spec.whatwg.org/#x-content-type-options-header */
export const ANSWER_HEADERS = {
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
} as const

/** How many seconds a client should wait while the database is away or a limit is reached. */
const RETRY_AFTER_SECONDS = 2
/** How many seconds to wait before checking for free space again. */
const DISK_RETRY_AFTER_SECONDS = 60

/**
 * Answers any error as problem+json. Errors that are not the client's fault are logged, and answered without internals.
 */
export function answerProblem(error: FastifyError | ProblemError, request: FastifyRequest, reply: FastifyReply): void {
  const problem = toProblem(error, request)
  const { statusCode: status } = problem
  const body = describe(problem, request.id)
  // Hooks do not run for addresses that are refused before routing.
  void reply.headers(ANSWER_HEADERS)
  if (status === 503 || status === 429) void reply.header('retry-after', RETRY_AFTER_SECONDS)
  if (status === 507) void reply.header('retry-after', DISK_RETRY_AFTER_SECONDS)
  if (status === 426) void reply.header('upgrade', 'websocket')
  void reply.code(status).header('content-type', CONTENT_TYPE).send(JSON.stringify(body))
}

/** The parts of an answer to bytes that never became a request. The connection closes after it. */
export function toLastAnswer(
  code: ProblemCode,
  detail: string,
): { status: number; headers: Record<string, string | number>; body: string } {
  const body = JSON.stringify(describe(new ProblemError(code, detail), '-'))
  const headers = {
    ...ANSWER_HEADERS,
    'content-type': CONTENT_TYPE,
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  }
  return { status: PROBLEMS[code].status, headers, body }
}

/** The same answer as bytes. */
export function toRawProblem(code: ProblemCode, detail: string): string {
  const { status, headers, body } = toLastAnswer(code, detail)
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...fields, '', body].join('\r\n')
}

function describe({ code, message, errors }: ProblemError, requestId: string): Problem {
  const { status, title, fix } = PROBLEMS[code]
  return {
    type: linkTo(`/docs/problems#${code}`),
    title,
    status,
    code,
    detail: message,
    fix: linkAddresses(fix),
    requestId,
    ...(errors && { errors: [...errors] }),
  }
}

function toProblem(error: FastifyError | ProblemError, { id: requestId, log }: FastifyRequest): ProblemError {
  if (error instanceof ProblemError) return error
  if (error instanceof NewTaskError) {
    if (error.cause !== undefined)
      log.warn({ err: error.cause, requestId }, 'a task was refused: code of its type failed for the payload')
    return new ProblemError(error.code, error.message, error.errors)
  }
  if (error instanceof KeyReusedError) {
    return new ProblemError('key_reused', error.message, [
      { pointer: '/idempotency-key', detail: 'was used for another request' },
    ])
  }
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new ProblemError('body_too_large', 'The body is larger than this address accepts.')
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new ProblemError('unsupported_media_type', 'The body must be application/json.')
    case 'FST_ERR_BAD_URL':
      return new ProblemError('malformed_url', 'The path has a % that does not start percent-encoded UTF-8.')
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new ProblemError('invalid_json', `The body is not JSON: ${error.message}`)
  }
  if (error instanceof SyntaxError) return new ProblemError('invalid_json', `The body is not JSON: ${error.message}`)
  if (isUnavailable(error)) {
    log.error({ err: error, requestId }, 'the database cannot be reached')
    return new ProblemError('unavailable', 'The database did not answer.')
  }
  if (isConflict(error)) {
    log.warn({ err: error, requestId }, 'PostgreSQL kept rolling back a statement that conflicted with others')
    return new ProblemError('unavailable', 'Too many other requests were changing the same tasks.')
  }
  if (isCancelled(error)) {
    log.warn({ err: error, requestId }, 'a read exceeded its time limit')
    return new ProblemError('read_too_long', 'PostgreSQL ended the read at its time limit.')
  }
  if (isRefusedData(error)) {
    // This should have been found earlier; the log says where.
    log.error({ err: error, requestId }, 'PostgreSQL refused a value from a request')
    return new ProblemError('invalid_request', 'A value in the request cannot be stored or searched for.')
  }
  if (error.statusCode !== undefined && error.statusCode < 500)
    return new ProblemError('invalid_request', error.message)
  log.error({ err: error, requestId }, 'a request failed')
  return new ProblemError('internal', 'Something went wrong on the server.')
}

/**
 * Whether PostgreSQL ended the statement at its time limit. Drizzle's errors have the database error as their cause.
 */
function isCancelled(error: unknown): boolean {
  return error instanceof Error && (('code' in error && error.code === '57014') || isCancelled(error.cause))
}
