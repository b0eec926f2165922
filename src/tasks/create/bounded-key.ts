/**
 * Bounds keys made by code, such as `uniqueBy` of a definition. They may have any length, but a PostgreSQL index takes
 * at most 2,704 bytes per row.
 */
import { createHash } from 'node:crypto'
import { findUnstorable } from '../../protocol/text.js'

/** Leaves space for the rest of the row, such as the tenant and the type. */
const MAX_KEY_BYTES = 2_000

/** The key itself, or its SHA-256 when it is too long or cannot be stored. */
export function boundKey(key: string): string {
  if (Buffer.byteLength(key) <= MAX_KEY_BYTES && findUnstorable(key, 1) === undefined) return key
  // As UTF-16, which distinguishes all texts: in UTF-8 all lone surrogates become the same.
  return `sha256:${createHash('sha256').update(key, 'utf16le').digest('base64url')}`
}
