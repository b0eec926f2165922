/** Reads times as PostgreSQL writes them, the same way over either driver. */
import pg from 'pg'
import { FIRST_INSTANT, LAST_INSTANT } from '../protocol/task.js'

const FIRST_MS = Date.parse(FIRST_INSTANT)
const LAST_MS = Date.parse(LAST_INSTANT)
/**
 * `2026-11-20 21:22:23.456+00` in a column, or with a T inside JSON. In old times some zones have seconds in their
 * offset.
 */
const WRITTEN = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?(?:Z|([+-])(\d\d)(?::?(\d\d))?(?::?(\d\d))?)?$/

/**
 * The nearest time that RFC 3339 can express: for `infinity` or the year 12000 that is the last one. Such times can no
 * longer be created, but SQL and older versions have written them, and one of them must not make a whole page
 * unreadable. Never throws, and the returned date can always be formatted.
 */
function readInstant(text: string): Date {
  return new Date(Math.min(Math.max(toMilliseconds(text), FIRST_MS), LAST_MS))
}

/** As `readInstant`, for times inside JSON: returns ISO 8601. */
export function rewriteInstant(text: string): string {
  return readInstant(text).toISOString()
}

function toMilliseconds(text: string): number {
  if (text.startsWith('-') || text.endsWith('BC')) return -Infinity
  const [, date, time, fraction = '', sign, hours = 0, minutes = 0, seconds = 0] = WRITTEN.exec(text) ?? []
  if (date === undefined) return Infinity
  const offsetMs = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1_000
  return Date.parse(`${date}T${time}${fraction.slice(0, 4)}Z`) - (sign === '-' ? -offsetMs : offsetMs)
}

const TIMESTAMPTZ: number = pg.types.builtins.TIMESTAMPTZ

/** Type parsers for node-postgres. */
export const PG_TYPES: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') => {
    return oid === TIMESTAMPTZ ? readInstant : pg.types.getTypeParser(oid, format as 'text')
  }) as typeof pg.types.getTypeParser,
}

/** Type parsers for postgres.js. */
export const POSTGRES_TYPES = {
  instant: { to: TIMESTAMPTZ, from: [TIMESTAMPTZ], serialize: (at: Date) => at.toISOString(), parse: readInstant },
}
