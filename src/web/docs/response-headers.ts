/**
 * The response headers that matter to clients: described in `/openapi.json`, and readable by pages of allowed origins.
 * The browser hides all other headers from such a page.
 */
import { Type } from 'typebox'

interface HeaderInfo {
  description: string
  /** The answers that carry it, such as `POST /api/tasks 202`. `*` matches any call. */
  answers: readonly string[]
}

const downloads = (status: number) => [`GET /api/tasks/:id/artifacts/:name ${status}`, `GET /files/:id/:name ${status}`]

const RESPONSE_HEADERS: Readonly<Record<string, HeaderInfo>> = {
  Location: { description: 'the address of the task', answers: ['POST /api/tasks 200', 'POST /api/tasks 202'] },
  'Existing-Task': {
    description: '`true`: this is an existing, unfinished task with the same unique key',
    answers: ['POST /api/tasks 200'],
  },
  'Idempotent-Replayed': {
    description: '`true`: this answer repeats that of an earlier request with the same Idempotency-Key',
    answers: ['POST /api/tasks 200', 'POST /api/tasks 202', 'POST /api/tasks/batch 202'],
  },
  'Preference-Applied': {
    description: 'the preferences in `Prefer` that were applied',
    answers: ['POST /api/tasks 200', 'POST /api/tasks 202'],
  },
  ETag: {
    description: 'the state of the task, for `If-None-Match` and `If-Match`; for a file, its SHA-256',
    answers: [
      'GET /api/tasks/:id 200',
      'GET /api/tasks/:id 304',
      'PATCH /api/tasks/:id 200',
      ...downloads(200),
      ...downloads(206),
    ],
  },
  Allow: { description: 'the methods that the address supports', answers: ['* 405', '* default'] },
  'Retry-After': { description: 'seconds to wait before retrying', answers: ['* 429', '* 503', '* 507', '* default'] },
  'Accept-Ranges': {
    description: '`bytes`: parts can be requested with `Range`',
    answers: [...downloads(200), ...downloads(206)],
  },
  'Content-Range': {
    description: 'the range of the file in this answer, and the size of the file',
    answers: [...downloads(206), ...downloads(416)],
  },
  'Content-Disposition': { description: 'the name of the file', answers: [...downloads(200), ...downloads(206)] },
}

/** For `Access-Control-Expose-Headers`. */
export const EXPOSED_HEADERS: string[] = Object.keys(RESPONSE_HEADERS)

/** The headers of one answer, as OpenAPI has them; undefined if there are none. */
export function headersOf(method: string, url: string, status: string): Record<string, object> | undefined {
  const found = Object.entries(RESPONSE_HEADERS).filter(
    ([, { answers }]) => answers.includes(`${method} ${url} ${status}`) || answers.includes(`* ${status}`),
  )
  if (found.length === 0) return undefined
  return Object.fromEntries(found.map(([name, { description }]) => [name, Type.String({ description })]))
}
