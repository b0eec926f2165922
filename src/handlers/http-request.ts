/** Calls an address on the internet: an example of a handler with options, limits, and a result that is cut to size. */
import { Type, type Static } from 'typebox'
import { defineTask, type TaskContext } from '../definitions/definition.js'
import { PermanentFailure, RetryLater } from '../definitions/outcome-errors.js'
import type { FieldError } from '../protocol/errors.js'
import { escapePointer } from '../protocol/text.js'
import { RESULT_LIMITS } from '../tasks/attempt/storable.js'
import { AddressRefusedError, createAddressGuard, type GuardOptions } from './address-guard.js'
import { checkUrlText } from './check-url.js'
import { describeRequest, METHODS, sendGuarded, type GuardedRequest, type GuardedResponse } from './guarded-request.js'
import { ReceiverGate } from './receiver-gate.js'
import { keepBody } from './response-body.js'

const DEFAULT_TIMEOUT_MS = 10_000
const DEFAULT_MAX_BYTES = 64 * 1024
/** The room for plain text in a result, next to the longest headers that are kept. */
const MAX_KEPT_BYTES = RESULT_LIMITS.maxBytes - 64 * 1024
const HEADER_NAME = "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$"
/** Set by the connection itself, or able to change the target of the request or the form of its answer. */
const REFUSED_HEADERS =
  /^(accept-encoding|connection|content-length|expect|host|http2-settings|keep-alive|proxy-.*|te|trailers?|transfer-encoding|upgrade)$/
/** The response headers kept in the result; others may contain cookies or tokens. */
const KEPT_HEADERS = ['content-type', 'content-encoding', 'content-length', 'etag', 'last-modified', 'location', 'date']
const MAX_HEADER_LENGTH = 2048
/** They change nothing, so they may be repeated. @see RFC 9110 section 9.2.1 */
const SAFE_METHODS: readonly string[] = ['GET', 'HEAD', 'OPTIONS']
const MAX_RETRY_AFTER_MS = 86_400_000

const Payload = Type.Object(
  {
    method: Type.Optional(Type.Enum([...METHODS], { default: 'GET', title: 'Method' })),
    url: Type.String({
      maxLength: 2048,
      pattern: '^https?://[^\\s]+$',
      title: 'URL',
      description:
        'http or https, without user name or password. Public addresses on ports 80 and 443 only, ' +
        'unless the operator allows others.',
      examples: ['https://example.com/'],
    }),
    headers: Type.Optional(
      Type.Record(Type.String({ pattern: HEADER_NAME }), Type.String({ maxLength: 4096, pattern: '^[\\t -~]*$' }), {
        maxProperties: 30,
        additionalProperties: false,
        title: 'Headers',
        description:
          'An object of strings. Headers are stored with the task, so do not send secrets that readers of the task must not see.',
        examples: [{ accept: 'application/json' }],
      }),
    ),
    body: Type.Optional(
      Type.Unknown({
        title: 'Body',
        description:
          'Not with GET or HEAD. A string is sent as plain text, anything else as JSON; a content-type header overrides that.',
      }),
    ),
    timeoutMs: Type.Optional(
      Type.Integer({
        minimum: 100,
        maximum: 60_000,
        default: DEFAULT_TIMEOUT_MS,
        title: 'Time-out',
        description: 'The limit for everything in milliseconds, including redirects and reading.',
      }),
    ),
    expectStatus: Type.Optional(
      Type.Array(Type.Integer({ minimum: 200, maximum: 599 }), {
        minItems: 1,
        maxItems: 50,
        title: 'Expected statuses',
        description:
          'Any other status fails the task; 200 to 299 if omitted. A redirect listed here is returned, not followed.',
        examples: [[200, 404]],
      }),
    ),
    maxBytes: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_KEPT_BYTES,
        default: DEFAULT_MAX_BYTES,
        title: 'Kept bytes',
        description:
          'How much of the response body is read and kept, in bytes. Less is kept of a body that is larger as text, such as a binary one.',
      }),
    ),
  },
  { additionalProperties: false },
)
type Payload = Static<typeof Payload>

const Result = Type.Object(
  {
    status: Type.Integer({ description: 'The HTTP status of the last answer.' }),
    headers: Type.Record(Type.String(), Type.String(), {
      description: `Headers of the response: ${KEPT_HEADERS.join(', ')}.`,
    }),
    body: Type.String({
      description: 'The body as text; bytes that are invalid in its charset (UTF-8 by default) appear as U+FFFD.',
    }),
    truncated: Type.Boolean({ description: 'Whether the body was longer than the part that was kept.' }),
    bytes: Type.Integer({ description: 'How much of the body was kept, in bytes.' }),
    durationMs: Type.Integer({ description: 'The time from the first connection to the last byte read.' }),
    url: Type.String({ description: 'The URL that answered, after at most 3 redirects.' }),
  },
  { additionalProperties: false },
)

type Result = Static<typeof Result>

export interface HttpRequestOptions extends GuardOptions {
  /** How many attempts this process runs at the same time, of all types in the queue. Default 128. */
  slots?: number | undefined
}

/**
 * A receiver that does not answer occupies only a few of the slots: see `receiver-gate.ts`. Any answer counts as one.
 */
export function createHttpRequest(options: HttpRequestOptions) {
  const guard = createAddressGuard(options)
  const gate = new ReceiverGate({ slots: options.slots })
  return defineTask({
    type: 'http.request',
    title: 'HTTP request',
    description:
      'Sends a request and stores the answer. Retried if the server is unreachable, overloaded (429) or failing (5xx), ' +
      'or if it sends Retry-After. Fails on any other unexpected status and on an address that is not allowed.',
    payload: Payload,
    result: Result,
    attempts: 5,
    retryOn: (error) => !(error instanceof AddressRefusedError),
    checkPayload: ({ url, method = 'GET', headers = {}, body }) => [
      ...checkUrlText(url, '/url', guard),
      ...Object.keys(headers).flatMap(checkHeader),
      ...findTwice(Object.keys(headers)),
      ...(body !== undefined && (method === 'GET' || method === 'HEAD')
        ? [
            {
              pointer: '/body',
              detail: `comes with ${method}, which has no body`,
              fix: 'Leave body out, or set method to POST.',
            },
          ]
        : []),
    ],

    async run(payload, context) {
      const request = readRequest(payload)
      if (SAFE_METHODS.includes(request.method)) return send(payload, request, context)
      // Other methods may have an effect, which must not be repeated if the task runs again. The key is for receivers
      // that support one.
      return context.once('request', ({ idempotencyKey }) =>
        send(
          payload,
          { ...request, headers: { 'idempotency-key': `"${idempotencyKey}"`, ...request.headers } },
          context,
        ),
      )
    },
  })

  async function send(
    payload: Payload,
    request: GuardedRequest,
    { signal, progress, log }: TaskContext,
  ): Promise<Result> {
    let startedAt = 0
    const response = await gate.call({
      url: request.url,
      signal,
      send() {
        progress(0, 1, describeRequest(request))
        startedAt = performance.now()
        return sendGuarded(request, guard, signal)
      },
    })
    const durationMs = Math.round(performance.now() - startedAt)
    if (!isExpected(payload, response.status)) {
      const expected = payload.expectStatus?.join(' or ') ?? '200 to 299'
      throw toError(
        response,
        `${describeRequest(request)} answered ${response.status}, expected ${expected}. ` +
          'List it in expectStatus to keep such an answer.',
      )
    }
    progress(1, 1, `answered ${response.status}`)
    const answer = {
      status: response.status,
      headers: keepHeaders(response),
      durationMs,
      url: response.url.href,
    }
    const kept = keepBody(response, (body) => isWithinResult({ ...answer, ...body }))
    log.info({ status: answer.status, bytes: kept.bytes, durationMs }, describeRequest(request))
    return { ...answer, ...kept }
  }
}

/** Whether and when another attempt may succeed. */
function toError({ status, headers }: GuardedResponse, message: string): Error {
  if (status !== 429 && status < 500) return new PermanentFailure(message)
  const waitMs = readRetryAfter(headers['retry-after'])
  return waitMs === undefined ? new Error(message) : new RetryLater(waitMs, message)
}

/** Milliseconds from now; undefined if the header has no usable value. @see RFC 9110 section 10.2.3 */
function readRetryAfter(header: string | string[] | undefined): number | undefined {
  const text = String(header ?? '').trim()
  const waitMs = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now()
  return Number.isNaN(waitMs) ? undefined : Math.min(Math.max(waitMs, 0), MAX_RETRY_AFTER_MS)
}

function readRequest(payload: Payload): GuardedRequest {
  const { method = 'GET', timeoutMs = DEFAULT_TIMEOUT_MS, maxBytes = DEFAULT_MAX_BYTES } = payload
  const isText = typeof payload.body === 'string'
  const body = payload.body === undefined ? null : isText ? String(payload.body) : JSON.stringify(payload.body)
  const contentType = isText ? 'text/plain; charset=utf-8' : 'application/json'
  return {
    method,
    url: new URL(payload.url),
    headers: {
      'user-agent': 'taskwire',
      'accept-encoding': 'identity',
      ...(body === null ? {} : { 'content-type': contentType }),
      ...readHeaders(payload.headers ?? {}),
    },
    body,
    timeoutMs,
    maxBytes,
    isWanted: (status) => payload.expectStatus?.includes(status) ?? false,
  }
}

function readHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

function checkHeader(name: string): FieldError[] {
  if (!REFUSED_HEADERS.test(name.toLowerCase())) return []
  return [
    {
      pointer: `/headers/${escapePointer(name)}`,
      detail: 'cannot be set: it belongs to the connection',
      fix: 'Omit it.',
    },
  ]
}

/** Header names are case-insensitive: of two spellings one would be lost. */
function findTwice(names: readonly string[]): FieldError[] {
  const isTwice = (name: string, index: number) =>
    names.findIndex((other) => other.toLowerCase() === name.toLowerCase()) < index
  return names.filter(isTwice).map((name) => ({
    pointer: `/headers/${escapePointer(name)}`,
    detail: 'is given twice, in different case',
    fix: 'Omit one of them.',
  }))
}

function isExpected({ expectStatus }: Payload, status: number): boolean {
  return expectStatus ? expectStatus.includes(status) : status >= 200 && status <= 299
}

function keepHeaders({ headers }: GuardedResponse): Record<string, string> {
  return Object.fromEntries(
    KEPT_HEADERS.flatMap((name) => {
      const value = headers[name]
      return value === undefined ? [] : [[name, String(value).slice(0, MAX_HEADER_LENGTH)]]
    }),
  )
}

function isWithinResult(result: Result): boolean {
  return Buffer.byteLength(JSON.stringify(result)) <= RESULT_LIMITS.maxBytes
}
