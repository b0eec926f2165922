/** Errors of either driver that say PostgreSQL refused what a statement was to store. */

/**
 * Whether the same values would be refused again: data (class 22), a constraint (23) or a limit of the program (54), also as the cause
 * of another error. Everything else, such as a lost connection or a deadlock, says nothing about the values.
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export function isRefusedData(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code = 'code' in error ? String(error.code) : ''
  return /^(22|23|54)[0-9A-Z]{3}$/.test(code) || isRefusedData(error.cause)
}
