/** Recognizes errors of either driver that mean the database is unavailable rather than the statement wrong. */

/** Codes of Node and of postgres.js. */
const CODES = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'ENOTFOUND'],
  ...['CONNECTION_CLOSED', 'CONNECTION_ENDED', 'CONNECTION_DESTROYED', 'CONNECT_TIMEOUT'],
])

/**
 * Whether the error or its cause says that the database cannot be reached, or accepts nothing at the moment.
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html classes 08, 53, 57 and 25006
 */
export function isUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code = 'code' in error ? String(error.code) : ''
  return (
    /^(08...|53...|57P0[1-5]|25006)$/.test(code) ||
    CODES.has(code) ||
    error.name === 'StatementTimeoutError' ||
    /Connection terminated|not queryable|Client was closed|timeout exceeded when trying to connect|Query read timeout/.test(
      error.message,
    ) ||
    isUnavailable(error.cause)
  )
}
