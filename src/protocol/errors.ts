/**
 * Every error an HTTP client can meet, in one table: its stable `code`, its HTTP status and what to do about it.
 * The body is `application/problem+json` (RFC 9457).
 */
import { Type, type Static } from 'typebox'
import { MAX_BATCH_BYTES, MAX_BODY_BYTES } from './limits.js'

export const PROBLEMS = {
  invalid_json: { status: 400, title: 'The body is not JSON', fix: 'Send one JSON object, in UTF-8.' },
  malformed_request: { status: 400, title: 'The request is not HTTP', fix: 'Send HTTP/1.1 as RFC 9112 has it; an HTTP client does. The connection is closed.' },
  invalid_request: { status: 400, title: 'The request does not fit its schema', fix: 'Mend the fields listed in errors.' },
  malformed_url: { status: 400, title: 'The address is malformed', fix: 'Percent-encode what goes into the address as UTF-8, e.g. with encodeURIComponent.' },
  invalid_id: { status: 400, title: 'The id is malformed', fix: 'A task id is a UUID such as the one in the Location header of the answer that created it.' },
  invalid_cursor: { status: 400, title: 'The cursor is malformed', fix: 'Pass nextCursor of the previous page unchanged, or leave cursor out to start over.' },
  origin_not_allowed: { status: 403, title: 'Pages of this origin may not use the server', fix: 'The operator adds the origin to ALLOWED_ORIGINS, or, behind a proxy, sets TRUST_PROXY.' },
  host_not_allowed: { status: 421, title: 'This server does not answer to that name', fix: 'The operator adds the name to ALLOWED_HOSTS. An IP address and localhost always work.' },
  not_found: { status: 404, title: 'There is nothing here', fix: 'See /docs for what this server offers.' },
  method_not_allowed: { status: 405, title: 'The address does not take this method', fix: 'Use one of the methods in the header Allow.' },
  task_not_found: { status: 404, title: 'There is no such task', fix: 'Check the id: GET /api/tasks lists the tasks that exist.' },
  not_cancellable: { status: 409, title: 'The task has ended', fix: 'Nothing is left to cancel: GET /api/tasks/:id shows how it ended.' },
  not_editable: { status: 409, title: 'The task has started', fix: 'Only a task that waits can be edited: cancel it and create another.' },
  version_mismatch: { status: 412, title: 'The task is not as it was read', fix: 'Read it again and send its ETag in If-Match.' },
  file_changed: { status: 412, title: 'The file is not the one that was read', fix: 'Download it again without If-Match.' },
  artifact_not_found: { status: 404, title: 'There is no such file', fix: 'GET /api/tasks/:id/artifacts lists those that exist; they are kept for ARTIFACT_TTL_HOURS.' },
  link_refused: { status: 403, title: 'The link does not open anything', fix: 'Ask for a new one: POST /api/tasks/:id/artifacts/:name/links.' },
  uploads_full: { status: 507, title: 'Uploads take as much space as they may', fix: 'Nothing was stored. Try again when earlier uploads are gone, a day after they came; the operator sets MAX_UPLOADS_MB.' },
  disk_full: { status: 507, title: 'The disk of the server has no space for files', fix: 'Nothing was stored. Try again later; the operator frees some space, see MIN_FREE_DISK_MB.' },
  range_not_satisfiable: { status: 416, title: 'The file has no such part', fix: 'Ask for a range within its bytes, or for the whole file.' },
  batch_not_found: { status: 404, title: 'There is no such batch', fix: 'Use the batchId of the answer that created it.' },
  upgrade_required: { status: 426, title: 'This is a WebSocket address', fix: 'Open it with a WebSocket client: new WebSocket("ws://…").' },
  request_timeout: { status: 408, title: 'The request did not come in time', fix: 'Send the request without pauses, on a new connection; send large input as an upload. The operator sets REQUEST_TIMEOUT_SECONDS.' },
  body_too_large: { status: 413, title: 'The body is too large', fix: `Send at most ${MAX_BODY_BYTES / 1_024} KiB a task, ${MAX_BATCH_BYTES / 1_048_576} MiB a batch; put larger input where the handler can fetch it.` },
  inexact_number: { status: 422, title: 'A number cannot be kept as it was sent', fix: 'Send it as a text: JavaScript and 64-bit floating point would change it.' },
  too_complex: { status: 422, title: 'The body has too many parts', fix: 'Nest it less deeply, or send fewer fields and values; send large input as a file (POST /api/uploads), or several batches.' },
  unsupported_media_type: { status: 415, title: 'The content type is not supported', fix: 'Send the header Content-Type: application/json, and the body as it is: not compressed.' },
  invalid_task: { status: 422, title: 'The task cannot be accepted as it is', fix: 'Mend the fields listed in errors.' },
  unknown_type: { status: 422, title: 'There is no such task type', fix: 'Use one of the types listed by GET /api/types.' },
  internal_type: { status: 422, title: 'Only the server makes tasks of this type', fix: 'Use a type that GET /api/types does not mark as isInternal. For a callback at the end of a task, send callbackUrl with it.' },
  invalid_payload: { status: 422, title: 'The payload does not fit the schema of its type', fix: 'Mend the fields listed in errors; GET /api/types shows the schema.' },
  expectation_failed: { status: 417, title: 'The expectation cannot be met', fix: 'Leave the header Expect out, or send Expect: 100-continue.' },
  head_too_large: { status: 431, title: 'The head of the request is too large', fix: 'Send at most 16 KiB of address and headers together: fewer or shorter headers, fewer ids in the query.' },
  key_reused: { status: 422, title: 'The Idempotency-Key was used for another request', fix: 'Send a new key with a new request, and an old one with the very same body.' },
  too_many_streams: { status: 429, title: 'Too many streams are open from this address, or with this key', fix: 'Close some, or follow many tasks over one socket: /ws/tasks. The operator sets MAX_STREAMS_PER_ADDRESS and MAX_STREAMS_PER_KEY.' },
  overloaded: { status: 503, title: 'This server has as much under way as it may', fix: 'Try again after the seconds in Retry-After; another process may have room.' },
  busy: { status: 503, title: 'The server has too many reads to do', fix: 'Try again after the seconds in Retry-After, and ask for less at a time.' },
  read_too_long: { status: 503, title: 'The read took too long', fix: 'Ask for less: name a type, a tag, a batch or a range of times, or a smaller limit.' },
  internal: { status: 500, title: 'The server made a mistake', fix: 'Try again; if it persists, look up the requestId in the server log.' },
  broker_unavailable: { status: 503, title: 'No worker could be told of the task', fix: 'Nothing was stored. Try again after the seconds in Retry-After, or leave Prefer: handling=strict out: the task is stored and runs later.' },
  unavailable: { status: 503, title: 'The database cannot be reached', fix: 'Try again after the seconds in Retry-After. What was sent may have been stored all the same: with an Idempotency-Key a create is safe to send again.' },
} as const satisfies Record<string, { status: number; title: string; fix: string }>

export type ProblemCode = keyof typeof PROBLEMS

/** One thing that is wrong: where (JSON Pointer, RFC 6901), what, and how to mend it. */
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
    type: Type.String({ description: 'a URI reference that names the problem' }),
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
