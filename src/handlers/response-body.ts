/** The body of a response as text, cut to the room that there is for it. */
import type { GuardedResponse } from './guarded-request.js'

export interface KeptBody {
  body: string
  /** Whether the body was longer than the part that is kept. */
  truncated: boolean
  /** How much of the body is kept, in bytes. */
  bytes: number
}

/**
 * The longest part of the body that fits. A byte takes up to six bytes in JSON, so a body that was read completely may
 * be larger than its room. By then the request has been sent, so the end of the body is cut off instead of failing the
 * attempt.
 * @param fits must be true for every part that is shorter than one that fits
 */
export function keepBody(response: GuardedResponse, fits: (kept: KeptBody) => boolean): KeptBody {
  const { bytes } = response
  const keep = (length: number): KeptBody => {
    const truncated = response.truncated || length < bytes.length
    return { body: decode({ ...response, bytes: bytes.subarray(0, length), truncated }), truncated, bytes: length }
  }
  const whole = keep(bytes.length)
  if (fits(whole)) return whole
  let [fitting, beyond] = [0, bytes.length]
  while (beyond - fitting > 1) {
    const middle = Math.floor((fitting + beyond) / 2)
    if (fits(keep(middle))) fitting = middle
    else beyond = middle
  }
  return keep(fitting)
}

/** PostgreSQL cannot store U+0000 in JSON; `stream` omits a character that the limit cut in two. */
function decode({ headers, bytes, truncated }: GuardedResponse): string {
  const charset = /charset="?([\w-]+)/i.exec(String(headers['content-type']))?.[1] ?? 'utf-8'
  return createDecoder(charset).decode(bytes, { stream: truncated }).replaceAll('\u0000', '\uFFFD')
}

function createDecoder(charset: string) {
  try {
    return new TextDecoder(charset)
  } catch {
    return new TextDecoder()
  }
}
