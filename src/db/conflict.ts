/** Statements that PostgreSQL undid because of others beside them: nothing is wrong with them, and the next try may succeed. */
import { retry } from '../timing/retry.js'

const PAUSE = { firstMs: 2, maxMs: 50 }
const MAX_TRIES = 5

/**
 * Whether the error, or what caused it, is a deadlock, or a transaction that could not be made serial.
 * @see https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html
 */
export function isConflict(error: unknown): boolean {
  return error instanceof Error && (('code' in error && (error.code === '40P01' || error.code === '40001')) || isConflict(error.cause))
}

/** Does some work of which a conflict leaves nothing: a statement, or a transaction. */
export function retryConflicts<Answer>(work: () => Promise<Answer>): Promise<Answer> {
  return retry(work, { ...PAUSE, maxTries: MAX_TRIES, isWorthwhile: isConflict })
}
