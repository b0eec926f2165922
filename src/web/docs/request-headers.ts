/**
 * The request headers that have a meaning here, as `/openapi.json` describes them. Each is read by the code that uses
 * it.
 */

interface HeaderInfo {
  description: string
  example: string
  /** The calls that read it, such as `POST /api/tasks`. */
  calls: readonly string[]
}

const CREATES = ['POST /api/tasks', 'POST /api/tasks/batch']
const DOWNLOADS = ['GET /api/tasks/:id/artifacts/:name', 'GET /files/:id/:name']

const REQUEST_HEADERS: Readonly<Record<string, HeaderInfo>> = {
  'Idempotency-Key': {
    description:
      'Chosen by the client: 1 to 255 visible ASCII characters. Repeating a request with the same key creates no second task.',
    example: '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
    calls: CREATES,
  },
  Prefer: {
    description:
      '`wait=10`: answer with the finished task if it ends within 10 s (not for a batch). `handling=strict`: 503 and nothing stored if the task cannot be dispatched to a worker. ' +
      'Unknown preferences are ignored (RFC 7240).',
    example: 'handling=lenient',
    calls: CREATES,
  },
  'If-Match': {
    description:
      'An `ETag` of the task or the file: the request applies only to that state, and is answered with 412 if it has changed.',
    example: '*',
    calls: ['PATCH /api/tasks/:id', ...DOWNLOADS],
  },
  'If-None-Match': {
    description: 'An `ETag` of the task or the file: if that is still its state, the answer is 304.',
    example: '"3"',
    calls: ['GET /api/tasks/:id', ...DOWNLOADS],
  },
  'Last-Event-ID': {
    description: 'The id of the last event received; sent by EventSource. Same meaning as `since`.',
    example: '3',
    calls: ['GET /api/tasks/:id/events', 'GET /api/tasks/events'],
  },
  Range: {
    description: 'One range of bytes; several ranges are answered with the whole file.',
    example: 'bytes=0-1023',
    calls: DOWNLOADS,
  },
  'If-Range': { description: 'The `ETag` of the file that `Range` belongs to.', example: '"0b1d7c"', calls: DOWNLOADS },
}

/** The headers of one call, as OpenAPI parameters. */
export function describeRequestHeaders(method: string, url: string): object[] {
  const found = Object.entries(REQUEST_HEADERS).filter(([, { calls }]) => calls.includes(`${method} ${url}`))
  return found.map(([name, { description, example }]) => ({
    name,
    in: 'header',
    required: false,
    description,
    schema: { type: 'string' },
    example,
  }))
}
