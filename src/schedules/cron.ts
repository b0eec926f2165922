/**
 * Cron expressions: five fields, six with seconds, or a nickname such as `@daily`. croner knows the calendar; it is asked
 * for wall times, because what happens when clocks change is decided in `slots.ts`.
 */
import { Cron, CronPattern } from 'croner'
import { MAX_CRON_LENGTH } from '../protocol/schedule.js'

const MODE = '5-or-6-parts'

export interface CronRule {
  /** The first wall time after this one that fits, undefined if there is none. Both as in `wall-time.ts`. */
  next(wallMs: number): number | undefined
  /** Whether it fits this wall time. */
  fits(wallMs: number): boolean
  /** Whether it fits every hour. */
  readonly isHourly: boolean
}

const parsed = new Map<string, CronRule>()
/** Then the cache begins anew. */
const MAX_PARSED = 10_000

/** @throws Error that says what is wrong with the expression */
export function parseCron(expression: string): CronRule {
  const known = parsed.get(expression)
  if (known !== undefined) return known
  if (expression.length > MAX_CRON_LENGTH) throw new Error(`has more than ${MAX_CRON_LENGTH} characters`)
  const cron = new Cron(expression, { mode: MODE, utcOffset: 0, paused: true })
  const rule: CronRule = {
    next: (wallMs) => cron.nextRun(new Date(wallMs))?.getTime(),
    fits: (wallMs) => cron.match(new Date(wallMs)),
    isHourly: new CronPattern(expression, undefined, { mode: MODE }).hour.every((fits) => fits === 1),
  }
  if (parsed.size >= MAX_PARSED) parsed.clear()
  parsed.set(expression, rule)
  return rule
}
