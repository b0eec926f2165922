/** Keys that code makes, such as `uniqueBy` of a definition, may have any length; an index of PostgreSQL takes 2,704 bytes a row. */
import { createHash } from 'node:crypto'
import { findUnstorable } from '../../protocol/text.js'

/** With what else is in the row, such as the tenant and the type. */
const MAX_KEY_BYTES = 2_000

/** The key itself; of one that is too long, or that cannot be stored, its SHA-256. */
export function boundKey(key: string): string {
  if (Buffer.byteLength(key) <= MAX_KEY_BYTES && findUnstorable(key, 1) === undefined) return key
  // As UTF-16, where every text is itself: in UTF-8 all halves of surrogate pairs are the same.
  return `sha256:${createHash('sha256').update(key, 'utf16le').digest('base64url')}`
}
