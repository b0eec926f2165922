/** Errors that clients see: RFC 9457 problem details, from the one table in `protocol/errors.ts`. */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { isUnavailable } from '../db/unavailable.js'
import { PROBLEMS, type FieldError, type Problem, type ProblemCode } from '../protocol/errors.js'
import { NewTaskError } from '../tasks/new-task.js'

/** An error with an entry in the table. Thrown anywhere in a request; the error handler answers it. */
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

/** Seconds that a client should wait while the database is away. */
const RETRY_AFTER_SECONDS = 2

/** Answers any error as problem+json. What is not a client's mistake is logged and said without its inside. */
export function answerProblem(error: FastifyError | ProblemError, request: FastifyRequest, reply: FastifyReply): void {
  const problem = toProblem(error, request)
  const { status, title, fix } = PROBLEMS[problem.code]
  const body: Problem = {
    type: `/docs/problems#${problem.code}`,
    title,
    status,
    code: problem.code,
    detail: problem.message,
    fix,
    requestId: request.id,
    ...(problem.errors && { errors: [...problem.errors] }),
  }
  if (status === 503) void reply.header('retry-after', RETRY_AFTER_SECONDS)
  if (status === 426) void reply.header('upgrade', 'websocket')
  void reply.code(status).header('content-type', 'application/problem+json; charset=utf-8').send(JSON.stringify(body))
}

function toProblem(error: FastifyError | ProblemError, { id: requestId, log }: FastifyRequest): ProblemError {
  if (error instanceof ProblemError) return error
  if (error instanceof NewTaskError) return new ProblemError(error.code, error.message, error.errors)
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new ProblemError('body_too_large', 'The body has more bytes than this address takes.')
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new ProblemError('unsupported_media_type', 'The body must be application/json.')
    case 'FST_ERR_BAD_URL':
      return new ProblemError('malformed_url', 'The path has a % that begins no percent-encoded UTF-8.')
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new ProblemError('invalid_json', `The body is not JSON: ${error.message}`)
  }
  if (error instanceof SyntaxError) return new ProblemError('invalid_json', `The body is not JSON: ${error.message}`)
  if (isUnavailable(error)) {
    log.error({ err: error, requestId }, 'the database cannot be reached')
    return new ProblemError('unavailable', 'The database did not answer.')
  }
  if (isCancelled(error)) {
    log.warn({ err: error, requestId }, 'a read was over its time limit')
    return new ProblemError('read_too_long', 'PostgreSQL ended the read at its time limit.')
  }
  if (error.statusCode !== undefined && error.statusCode < 500) return new ProblemError('invalid_request', error.message)
  log.error({ err: error, requestId }, 'a request failed')
  return new ProblemError('internal', 'Something went wrong on the server.')
}

/** Whether PostgreSQL ended the statement at its time limit; drizzle's errors have the database's as their cause. */
function isCancelled(error: unknown): boolean {
  return error instanceof Error && (('code' in error && error.code === '57014') || isCancelled(error.cause))
}
