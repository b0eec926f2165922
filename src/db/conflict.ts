/**
 * Retries statements that PostgreSQL rolled back because of concurrent ones. Nothing is wrong with them, and the next
 * try may succeed.
 */
import { retry } from '../timing/retry.js'

const CODES = new Set(['40P01', '40001', '55P03'])
const PAUSE = { firstMs: 2, maxMs: 50 }
const MAX_TRIES = 5

/**
 * Whether the error or its cause is a deadlock, a serialization failure, or a lock that was not granted in time (only
 * where a statement sets `lock_timeout`).
 * @see https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html
 */
export function isConflict(error: unknown): boolean {
  return error instanceof Error && (('code' in error && CODES.has(String(error.code))) || isConflict(error.cause))
}

/**
 * Runs `work` and retries it on conflicts. `work` must be a statement or a transaction, so that a conflict undoes all
 * of it.
 */
export function retryConflicts<Answer>(work: () => Promise<Answer>): Promise<Answer> {
  return retry(work, { ...PAUSE, maxTries: MAX_TRIES, isWorthwhile: isConflict })
}
