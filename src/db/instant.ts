/** Times as PostgreSQL writes them, read alike over either driver. */
import pg from 'pg'
import { FIRST_INSTANT, LAST_INSTANT } from '../protocol/task.js'

const FIRST_MS = Date.parse(FIRST_INSTANT)
const LAST_MS = Date.parse(LAST_INSTANT)
/** `2026-11-20 21:22:23.456+00`, as a column or (with a T) inside JSON. Old times of some zones have seconds in their offset. */
const WRITTEN = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?(?:Z|([+-])(\d\d)(?::?(\d\d))?(?::?(\d\d))?)?$/

/**
 * The nearest time that RFC 3339 can write: of `infinity` and of the year 12000 that is the last one. Such times are not created any more, but
 * SQL and older versions have written them, and one of them must not make a whole page unreadable. So this never throws, and its date can
 * always be written.
 */
function readInstant(text: string): Date {
  return new Date(Math.min(Math.max(toMilliseconds(text), FIRST_MS), LAST_MS))
}

/** The same as ISO 8601, for times inside JSON. */
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

/** For statements over node-postgres. */
export const PG_TYPES: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') => {
    return oid === TIMESTAMPTZ ? readInstant : pg.types.getTypeParser(oid, format as 'text')
  }) as typeof pg.types.getTypeParser,
}

/** For clients of postgres.js. */
export const POSTGRES_TYPES = {
  instant: { to: TIMESTAMPTZ, from: [TIMESTAMPTZ], serialize: (at: Date) => at.toISOString(), parse: readInstant },
}
