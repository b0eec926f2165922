/**
 * Every error that an HTTP client can receive, in one table: its stable `code`, its HTTP status and what to do about
 * it. The body is `application/problem+json` (RFC 9457).
 */
import { Type, type Static } from 'typebox'
import { MAX_BATCH_BYTES, MAX_BODY_BYTES } from './limits.js'

export const PROBLEMS = {
  invalid_json: { status: 400, title: 'The body is not JSON', fix: 'Send one JSON object, in UTF-8.' },
  malformed_request: {
    status: 400,
    title: 'The request is not HTTP',
    fix: 'Send HTTP/1.1 as defined by RFC 9112, for example with an HTTP client. The connection is closed.',
  },
  invalid_request: {
    status: 400,
    title: 'The request does not match its schema',
    fix: 'Fix the fields listed in errors.',
  },
  malformed_url: {
    status: 400,
    title: 'The address is malformed',
    fix: 'Percent-encode values in the address as UTF-8, e.g. with encodeURIComponent.',
  },
  invalid_id: {
    status: 400,
    title: 'The id is malformed',
    fix: 'Send the id, or the name, as the server gave it: the Location header of a created task has its id, a UUID, and GET /api/workers has those of workers.',
  },
  invalid_cursor: {
    status: 400,
    title: 'The cursor is malformed',
    fix: 'Pass nextCursor of the previous page unchanged, or omit cursor to start over.',
  },
  origin_not_allowed: {
    status: 403,
    title: 'Pages of this origin may not use this server',
    fix: 'The operator can add the origin to ALLOWED_ORIGINS or, behind a proxy, set TRUST_PROXY.',
  },
  host_not_allowed: {
    status: 421,
    title: 'This server does not accept that host name',
    fix: 'The operator can add the name to ALLOWED_HOSTS. IP addresses and localhost always work.',
  },
  not_found: { status: 404, title: 'There is nothing here', fix: 'See /docs for what this server offers.' },
  method_not_allowed: {
    status: 405,
    title: 'This address does not support the method',
    fix: 'Use one of the methods listed in the Allow header.',
  },
  task_not_found: {
    status: 404,
    title: 'There is no such task',
    fix: 'Check the id: GET /api/tasks lists the tasks that exist.',
  },
  not_cancellable: {
    status: 409,
    title: 'The task has ended',
    fix: 'There is nothing left to cancel. GET /api/tasks/:id shows how the task ended.',
  },
  not_editable: {
    status: 409,
    title: 'The task has started',
    fix: 'Only waiting tasks can be edited. Cancel this one and create another.',
  },
  version_mismatch: {
    status: 412,
    title: 'The task has changed since it was read',
    fix: 'Read it again and send its new ETag in If-Match.',
  },
  file_changed: {
    status: 412,
    title: 'The file has changed since it was read',
    fix: 'Download it again without If-Match.',
  },
  artifact_not_found: {
    status: 404,
    title: 'There is no such file',
    fix: 'GET /api/tasks/:id/artifacts lists the files that exist; they are kept for ARTIFACT_TTL_HOURS.',
  },
  link_refused: {
    status: 403,
    title: 'The link is invalid or has expired',
    fix: 'Request a new one: POST /api/tasks/:id/artifacts/:name/links.',
  },
  uploads_full: {
    status: 507,
    title: 'The space for uploads is full',
    fix: 'Nothing was stored. Try again when earlier uploads have been removed, a day after they arrived. The operator can raise MAX_UPLOADS_MB.',
  },
  disk_full: {
    status: 507,
    title: 'The server has no disk space for files',
    fix: 'Nothing was stored. Try again later. The operator must free disk space, see MIN_FREE_DISK_MB.',
  },
  range_not_satisfiable: {
    status: 416,
    title: 'The requested range is outside the file',
    fix: 'Request a range within the file, or the whole file.',
  },
  batch_not_found: {
    status: 404,
    title: 'There is no such batch',
    fix: 'Use the batchId from the answer that created the batch.',
  },
  upgrade_required: {
    status: 426,
    title: 'This is a WebSocket address',
    fix: 'Open it with a WebSocket client: new WebSocket("ws://…").',
  },
  request_timeout: {
    status: 408,
    title: 'The request did not arrive in time',
    fix: 'Send the request without pauses, on a new connection; send large input as an upload. The operator can raise REQUEST_TIMEOUT_SECONDS.',
  },
  body_too_large: {
    status: 413,
    title: 'The body is too large',
    fix: `Send at most ${MAX_BODY_BYTES / 1_024} KiB per task and ${MAX_BATCH_BYTES / 1_048_576} MiB per batch. Store larger input where the handler can fetch it.`,
  },
  inexact_number: {
    status: 422,
    title: 'A number would lose precision',
    fix: 'Send it as a string: JavaScript and 64-bit floating point would change it.',
  },
  too_complex: {
    status: 422,
    title: 'The body is too complex',
    fix: 'Use less nesting, or fewer fields and values. Send large input as a file (POST /api/uploads), or in several batches.',
  },
  unsupported_media_type: {
    status: 415,
    title: 'The content type is not supported',
    fix: 'Send the header Content-Type: application/json, and do not compress the body.',
  },
  invalid_task: { status: 422, title: 'The task is invalid', fix: 'Fix the fields listed in errors.' },
  unknown_type: {
    status: 422,
    title: 'There is no such task type',
    fix: 'Use one of the types listed by GET /api/types.',
  },
  internal_type: {
    status: 422,
    title: 'Only the server can create tasks of this type',
    fix: 'Use a type that GET /api/types does not mark as isInternal. To be called back when a task ends, create it with a callbackUrl.',
  },
  invalid_payload: {
    status: 422,
    title: 'The payload does not match the schema of its type',
    fix: 'Fix the fields listed in errors. GET /api/types shows the schema.',
  },
  expectation_failed: {
    status: 417,
    title: 'The expectation cannot be met',
    fix: 'Omit the Expect header, or send Expect: 100-continue.',
  },
  head_too_large: {
    status: 431,
    title: 'The request headers are too large',
    fix: 'Send at most 16 KiB of address and headers together: use fewer or shorter headers, or fewer ids in the query.',
  },
  key_reused: {
    status: 422,
    title: 'The Idempotency-Key was used for another request',
    fix: 'Send a new key with a new request; repeat a key only with exactly the same body.',
  },
  too_many_streams: {
    status: 429,
    title: 'Too many streams are open from this address or with this key',
    fix: 'Close some, or follow many tasks over one socket: /ws/tasks. The operator can raise MAX_STREAMS_PER_ADDRESS and MAX_STREAMS_PER_KEY.',
  },
  overloaded: {
    status: 503,
    title: 'This server is at capacity',
    fix: 'Retry after the number of seconds in Retry-After; another process may have capacity.',
  },
  busy: {
    status: 503,
    title: 'The server is busy with reads',
    fix: 'Retry after the number of seconds in Retry-After, and request less at a time.',
  },
  read_too_long: {
    status: 503,
    title: 'The read took too long',
    fix: 'Request less: filter by a type, a tag, a batch or a range of times, or use a smaller limit.',
  },
  invalid_setting: { status: 422, title: 'The setting is invalid', fix: 'Fix the fields listed in errors.' },
  limit_of_code: {
    status: 409,
    title: 'The limit is set by the code of a type',
    fix: 'It would be back at the next start of a process. Replace it with PUT /api/limits/:name, or remove it from the code.',
  },
  schedule_of_code: {
    status: 409,
    title: 'The schedule is defined in the code',
    fix: 'It would be back at the next start of a process. Pause it with POST /api/schedules/:name/pause, or remove it from the code.',
  },
  schedule_not_of_code: {
    status: 409,
    title: 'The code does not define this schedule',
    fix: 'There is nothing to set it back to. Change it with PUT /api/schedules/:name.',
  },
  internal: {
    status: 500,
    title: 'Internal server error',
    fix: 'Try again. If the error persists, look up the requestId in the server log.',
  },
  broker_unavailable: {
    status: 503,
    title: 'The task could not be dispatched to a worker',
    fix: 'Nothing was stored. Retry after the number of seconds in Retry-After, or omit Prefer: handling=strict; the task is then stored and runs later.',
  },
  unavailable: {
    status: 503,
    title: 'The database cannot be reached',
    fix: 'Retry after the number of seconds in Retry-After. The request may have been stored anyway; with an Idempotency-Key it is safe to repeat a create.',
  },
} as const satisfies Record<string, { status: number; title: string; fix: string }>

export type ProblemCode = keyof typeof PROBLEMS

/** One error: where it is (JSON Pointer, RFC 6901), what is wrong, and how to fix it. */
export const FieldError = Type.Object(
  {
    pointer: Type.String({ examples: ['/payload/steps'] }),
    detail: Type.String({ examples: ['must be at least 0'] }),
    fix: Type.Optional(Type.String()),
  },
  { additionalProperties: false },
)
export type FieldError = Static<typeof FieldError>

/** The body of every error answer (RFC 9457). */
export const Problem = Type.Object(
  {
    type: Type.String({ description: 'a URI reference that identifies the problem' }),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String({ description: 'stable; for programs' }),
    detail: Type.String(),
    fix: Type.String({ description: 'what to do about it' }),
    requestId: Type.String(),
    errors: Type.Optional(Type.Array(FieldError)),
  },
  { additionalProperties: false },
)
export type Problem = Static<typeof Problem>
