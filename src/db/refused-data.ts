/**
 * Errors of either driver that say PostgreSQL refused what a statement was to store.
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html classes 22, 23, 40 and 54
 */

/** Whether PostgreSQL cannot take a value as it was given: text that it does not store, a number out of range, a key too long for its index. */
export function isRefusedData(error: unknown): boolean {
  return hasClass(error, /^(22|54)[0-9A-Z]{3}$/)
}

/**
 * Whether the same values would be refused again: as above, or by a constraint. Everything else, such as a lost connection or a deadlock,
 * says nothing about the values.
 */
export function isRefusedForGood(error: unknown): boolean {
  return hasClass(error, /^(22|23|54)[0-9A-Z]{3}$/)
}

/**
 * Whether PostgreSQL refused the statement itself: data, a constraint, or a deadlock. Everything else, above all a lost connection, says
 * nothing about what was to be stored.
 */
export function isRefusedStatement(error: unknown): boolean {
  return hasClass(error, /^(22|23|40|54)[0-9A-Z]{3}$/)
}

/** The error itself, or one that caused it. */
function hasClass(error: unknown, classes: RegExp): boolean {
  if (!(error instanceof Error)) return false
  return ('code' in error && classes.test(String(error.code))) || hasClass(error.cause, classes)
}
