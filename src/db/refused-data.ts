/**
 * Whether the error, or what caused it, says that PostgreSQL cannot take a value as it was given: text that it does not store, a
 * number out of range, a key too long for its index. Trying again is of no use.
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html classes 22 and 54
 */
export function isRefusedData(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return ('code' in error && /^(22|54)[0-9A-Z]{3}$/.test(String(error.code))) || isRefusedData(error.cause)
}
