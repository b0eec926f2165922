/** The header `Range`, as far as one range of bytes. @see RFC 9110 section 14.1.2 */
import type { ByteRange } from '../artifacts/artifact-store.js'

const ONE_RANGE = /^bytes=\s*(?:(\d+)-(\d*)|-(\d+))\s*$/i

/**
 * @param bytes how long the whole is
 * @returns undefined: the whole is to be sent, because nothing is asked for, or several ranges, or something that is no range of bytes
 */
export function readByteRange(header: string | undefined, bytes: number): ByteRange | 'unsatisfiable' | undefined {
  const [, first, last = '', suffix] = ONE_RANGE.exec(header ?? '') ?? []
  if (suffix !== undefined) {
    const length = Math.min(Number(suffix), bytes)
    return length === 0 ? 'unsatisfiable' : { start: bytes - length, end: bytes - 1 }
  }
  if (first === undefined) return undefined
  const [start, end] = [Number(first), last === '' ? bytes - 1 : Number(last)]
  // A range that ends before it begins is none.
  if (last !== '' && end < start) return undefined
  return start >= bytes ? 'unsatisfiable' : { start, end: Math.min(end, bytes - 1) }
}
