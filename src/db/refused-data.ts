/**
 * Recognizes errors of either driver by which PostgreSQL refused the data of a statement.
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html classes 22, 23, 40 and 54
 */

/**
 * Whether PostgreSQL cannot accept a value: text that it does not store, a number out of range, a key too long for its
 * index.
 */
export function isRefusedData(error: unknown): boolean {
  return hasClass(error, /^(22|54)[0-9A-Z]{3}$/)
}

/**
 * Whether the same values would be refused again: as above, or by a constraint. Other errors, such as a lost connection
 * or a deadlock, say nothing about the values.
 */
export function isRefusedForGood(error: unknown): boolean {
  return hasClass(error, /^(22|23|54)[0-9A-Z]{3}$/)
}

/**
 * Whether PostgreSQL refused the statement: because of its data, a constraint or a deadlock. Other errors, above all a
 * lost connection, say nothing about the data.
 */
export function isRefusedStatement(error: unknown): boolean {
  return hasClass(error, /^(22|23|40|54)[0-9A-Z]{3}$/)
}

/** Checks the error and its causes. */
function hasClass(error: unknown, classes: RegExp): boolean {
  if (!(error instanceof Error)) return false
  return ('code' in error && classes.test(String(error.code))) || hasClass(error.cause, classes)
}
