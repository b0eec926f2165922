/**
 * `Idempotency-Key`: repeating a request returns the same task.
 * @see https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07
 */
import { createHash } from 'node:crypto'
import { mapInPortions } from './portions.js'
import { ProblemError } from './problem.js'

const MAX_KEY_LENGTH = 255
/** The highest field name that JavaScript treats as an array index. */
const MAX_INDEX = 2 ** 32 - 2

/**
 * The key of a request. The draft requires a string of RFC 8941, in quotes; it is accepted without them too.
 * @throws ProblemError `invalid_request`
 */
export function readIdempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined
  const text = String(header).trim()
  const quoted = /^"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/.exec(text)?.[1]?.replaceAll(/\\(["\\])/g, '$1')
  const key = quoted ?? (/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(text) ? text : '')
  if (key !== '' && key.length <= MAX_KEY_LENGTH) return key
  throw new ProblemError('invalid_request', 'The header Idempotency-Key is malformed.', [
    {
      pointer: '/idempotency-key',
      detail: `must be 1 to ${MAX_KEY_LENGTH} visible ASCII characters, in quotes`,
      fix: 'Send a UUID of your own, e.g. "8e03978e-40d5-43dd-bc93-6894a57f9324".',
    },
  ])
}

/** Equal for bodies with the same meaning: the order of fields does not count. */
export function fingerprintOf(body: unknown): string {
  return createHash('sha256').update(toCanonicalText(body)).digest('base64url')
}

/** The fingerprint of a whole batch, computed in portions with other work in between. */
export async function fingerprintOfBatch({ tasks }: { tasks: readonly unknown[] }): Promise<string> {
  const hash = createHash('sha256').update('{"tasks":[')
  await mapInPortions(tasks, (task, index) => hash.update(`${index === 0 ? '' : ','}${toCanonicalText(task)}`))
  return hash.update(']}').digest('base64url')
}

/** JSON with the fields of each object in a fixed order: array indexes first, as JavaScript has them, then by name. */
function toCanonicalText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(toCanonicalText).join()}]`
  const names = Object.keys(value)
  const firstNamed = names.findIndex((name) => !/^(0|[1-9]\d{0,9})$/.test(name) || Number(name) > MAX_INDEX)
  const sorted = firstNamed === -1 ? names : [...names.slice(0, firstNamed), ...names.slice(firstNamed).sort()]
  return `{${sorted.map((name) => `${JSON.stringify(name)}:${toCanonicalText((value as Record<string, unknown>)[name])}`).join()}}`
}
