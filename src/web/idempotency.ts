/**
 * `Idempotency-Key`: the same request again means the same task.
 * @see https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07
 */
import { createHash } from 'node:crypto'
import { ProblemError } from './problem.js'

const MAX_KEY_LENGTH = 255

/**
 * The key of a request. The draft asks for a string of RFC 8941, in quotes; without them it is taken as well.
 * @throws ProblemError `invalid_request`
 */
export function readIdempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined
  const text = String(header).trim()
  const quoted = /^"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/.exec(text)?.[1]?.replaceAll(/\\(["\\])/g, '$1')
  const key = quoted ?? (/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(text) ? text : '')
  if (key !== '' && key.length <= MAX_KEY_LENGTH) return key
  throw new ProblemError('invalid_request', 'The header Idempotency-Key is malformed.', [
    { pointer: '/idempotency-key', detail: `must be 1 to ${MAX_KEY_LENGTH} visible ASCII characters, in quotes`, fix: 'Send a UUID of your own, e.g. "8e03978e-40d5-43dd-bc93-6894a57f9324".' },
  ])
}

/** Equal for bodies that mean the same: the order of fields does not count. */
export function fingerprintOf(body: unknown): string {
  return createHash('sha256').update(JSON.stringify(body, sortFields)).digest('base64url')
}

function sortFields(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
