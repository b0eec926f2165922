/** The header `Range`, limited to a single range of bytes. @see RFC 9110 section 14.1.2 */
import type { ByteRange } from '../artifacts/artifact-store.js'

const ONE_RANGE = /^bytes=\s*(?:(\d+)-(\d*)|-(\d+))\s*$/i

/**
 * @param bytes the size of the whole file
 * @returns undefined to send the whole file: there is no header, or it has several ranges, or it is not a range of
 *   bytes
 */
export function readByteRange(header: string | undefined, bytes: number): ByteRange | 'unsatisfiable' | undefined {
  const [, first, last = '', suffix] = ONE_RANGE.exec(header ?? '') ?? []
  if (suffix !== undefined) {
    const length = Math.min(Number(suffix), bytes)
    return length === 0 ? 'unsatisfiable' : { start: bytes - length, end: bytes - 1 }
  }
  if (first === undefined) return undefined
  const [start, end] = [Number(first), last === '' ? bytes - 1 : Number(last)]
  // A range that ends before it begins is ignored.
  if (last !== '' && end < start) return undefined
  return start >= bytes ? 'unsatisfiable' : { start, end: Math.min(end, bytes - 1) }
}
