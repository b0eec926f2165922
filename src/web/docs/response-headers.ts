/**
 * The headers of answers that mean something to a client: what `/openapi.json` describes, and what a page of an allowed origin may
 * read. A header that is not here is one that the browser keeps from such a page.
 */
import { Type } from 'typebox'

interface HeaderInfo {
  description: string
  /** The answers that carry it: `POST /api/tasks 202`. `*` for any call. */
  answers: readonly string[]
}

const downloads = (status: number) => [`GET /api/tasks/:id/artifacts/:name ${status}`, `GET /files/:id/:name ${status}`]

const RESPONSE_HEADERS: Readonly<Record<string, HeaderInfo>> = {
  Location: { description: 'where the task is', answers: ['POST /api/tasks 200', 'POST /api/tasks 202'] },
  'Existing-Task': { description: '`true`: an unfinished task has the same unique key, and this is it', answers: ['POST /api/tasks 200'] },
  'Idempotent-Replayed': {
    description: '`true`: an earlier request with the same Idempotency-Key made what is answered',
    answers: ['POST /api/tasks 200', 'POST /api/tasks 202', 'POST /api/tasks/batch 202'],
  },
  'Preference-Applied': { description: 'which wishes of `Prefer` were heeded', answers: ['POST /api/tasks 200', 'POST /api/tasks 202'] },
  ETag: {
    description: 'the state of the task, for `If-None-Match` and `If-Match`; of a file its SHA-256',
    answers: ['GET /api/tasks/:id 200', 'GET /api/tasks/:id 304', 'PATCH /api/tasks/:id 200', ...downloads(200), ...downloads(206)],
  },
  Allow: { description: 'the methods that the address takes', answers: ['* 405', '* default'] },
  'Retry-After': { description: 'seconds to wait before the next try', answers: ['* 429', '* 503', '* 507', '* default'] },
  'Accept-Ranges': { description: '`bytes`: parts can be asked for with `Range`', answers: [...downloads(200), ...downloads(206)] },
  'Content-Range': { description: 'which part of the file this is, and how long the file is', answers: [...downloads(206), ...downloads(416)] },
  'Content-Disposition': { description: 'the name of the file', answers: [...downloads(200), ...downloads(206)] },
}

/** For `Access-Control-Expose-Headers`. */
export const EXPOSED_HEADERS: string[] = Object.keys(RESPONSE_HEADERS)

/** The headers of one answer, as OpenAPI has them; undefined when there are none. */
export function headersOf(method: string, url: string, status: string): Record<string, object> | undefined {
  const found = Object.entries(RESPONSE_HEADERS).filter(([, { answers }]) => answers.includes(`${method} ${url} ${status}`) || answers.includes(`* ${status}`))
  if (found.length === 0) return undefined
  return Object.fromEntries(found.map(([name, { description }]) => [name, Type.String({ description })]))
}
