/** The headers of requests that mean something here, as `/openapi.json` describes them. Each is read by the code that understands it. */

interface HeaderInfo {
  description: string
  example: string
  /** The calls that read it: `POST /api/tasks`. */
  calls: readonly string[]
}

const CREATES = ['POST /api/tasks', 'POST /api/tasks/batch']
const DOWNLOADS = ['GET /api/tasks/:id/artifacts/:name', 'GET /files/:id/:name']

const REQUEST_HEADERS: Readonly<Record<string, HeaderInfo>> = {
  'Idempotency-Key': {
    description: 'Chosen by the client: 1 to 255 visible ASCII characters. The same request with the same key again makes no second task.',
    example: '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
    calls: CREATES,
  },
  Prefer: {
    description:
      '`wait=10`: answer with the finished task if it ends in 10 s (not of a batch). `handling=strict`: 503 and nothing stored when no worker can be told. ' +
      'What is not understood is ignored (RFC 7240).',
    example: 'handling=lenient',
    calls: CREATES,
  },
  'If-Match': {
    description: 'An `ETag` of the task or the file: only that state is changed or sent, and any other is answered with 412.',
    example: '*',
    calls: ['PATCH /api/tasks/:id', ...DOWNLOADS],
  },
  'If-None-Match': {
    description: 'An `ETag` of the task or the file: if that is still its state, the answer is 304.',
    example: '"3"',
    calls: ['GET /api/tasks/:id', ...DOWNLOADS],
  },
  'Last-Event-ID': {
    description: 'The id of the last event of the stream that was received; sent by EventSource. Like `since`.',
    example: '3',
    calls: ['GET /api/tasks/:id/events', 'GET /api/tasks/events'],
  },
  Range: { description: 'One range of bytes; of several the whole file is sent.', example: 'bytes=0-1023', calls: DOWNLOADS },
  'If-Range': { description: 'The `ETag` of the file that `Range` belongs to.', example: '"0b1d7c"', calls: DOWNLOADS },
}

/** The headers of one call, as parameters of OpenAPI. */
export function describeRequestHeaders(method: string, url: string): object[] {
  const found = Object.entries(REQUEST_HEADERS).filter(([, { calls }]) => calls.includes(`${method} ${url}`))
  return found.map(([name, { description, example }]) => ({ name, in: 'header', required: false, description, schema: { type: 'string' }, example }))
}
