/**
 * The preferences of a client (RFC 7240): `Prefer: wait=10, handling=strict`.
 * @see https://www.rfc-editor.org/rfc/rfc7240
 */
import { MAX_WAIT_SECONDS } from '../protocol/http.js'

export interface Preferences {
  /** Seconds to wait for the end of the task; 0 means no waiting. */
  waitSeconds: number
  /** Whether to refuse a task that cannot be dispatched at once. */
  isStrict: boolean
}

const NONE: Preferences = { waitSeconds: 0, isStrict: false }

/** Unknown preferences are ignored, as the RFC requires. */
export function readPreferences(header: string | string[] | undefined): Preferences {
  if (header === undefined) return NONE
  const wishes = new Map(
    String(header)
      .split(',')
      .map((wish) => wish.split(';')[0]?.split('=') ?? [])
      .map(([name = '', value = '']) => [name.trim().toLowerCase(), value.trim().replaceAll('"', '').toLowerCase()]),
  )
  const wait = wishes.get('wait') ?? ''
  return {
    waitSeconds: /^\d{1,9}$/.test(wait) ? Math.min(Number(wait), MAX_WAIT_SECONDS) : 0,
    isStrict: wishes.get('handling') === 'strict',
  }
}
