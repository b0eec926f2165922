/**
 * Bounds keys made by code, such as `uniqueBy` of a definition. They may have any length, but a PostgreSQL index takes
 * at most 2,704 bytes per row.
 */
import { createHash } from 'node:crypto'
import { MAX_KEY_LENGTH } from '../../protocol/limits.js'
import { isStorableKey } from '../../protocol/storable.js'
import { findUnstorable } from '../../protocol/text.js'

/** Leaves space for the rest of the row, such as the tenant and the type. */
const MAX_KEY_BYTES = 2_000

/** The key itself, or its SHA-256 when it is too long or cannot be stored. */
export function boundKey(key: string): string {
  return Buffer.byteLength(key) <= MAX_KEY_BYTES && findUnstorable(key, 1) === undefined ? key : hashKey(key)
}

/** The same, for concurrency keys and sequence keys. Clients may name those in URLs, and an index row has several. */
export function boundShortKey(key: string): string {
  return key.length <= MAX_KEY_LENGTH && isStorableKey(key) ? key : hashKey(key)
}

function hashKey(key: string): string {
  // As UTF-16, which distinguishes all texts: in UTF-8 all lone surrogates become the same.
  return `sha256:${createHash('sha256').update(key, 'utf16le').digest('base64url')}`
}
