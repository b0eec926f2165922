/** A rule in words, and when it is due next. */
import cronstrue from 'cronstrue'
import { NEXT_RUNS, type NextRun, type ScheduleRule } from '../protocol/schedule.js'
import { parseCron } from './cron.js'
import { listSlots } from './slots.js'
import { instantsOf, offsetAt, toWall } from './wall-time.js'

const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
  ['millisecond', 1],
] as const

/** The rule in words. Works for every rule that has been stored. */
export function describeRule({ cron, everyMs, at, timeZone, startsAt, endsAt }: ScheduleRule): string {
  const rule =
    cron !== null
      ? `${describeCron(cron)}${timeZone === 'UTC' ? '' : `, ${timeZone}`}`
      : everyMs !== null
        ? `Every ${describeSpan(everyMs)}`
        : `Once, at ${at}`
  return [rule, startsAt && `from ${startsAt}`, endsAt && `until ${endsAt}`].filter(Boolean).join(', ')
}

function describeCron(cron: string): string {
  try {
    return cronstrue.toString(cron, { use24HourTimeFormat: true })
  } catch {
    return cron
  }
}

function describeSpan(ms: number): string {
  const [unit, size] = UNITS.find(([, size]) => ms % size === 0) ?? ['millisecond', 1]
  const count = ms / size
  return count === 1 ? unit : `${count} ${unit}s`
}

/** The next runs after this instant, as they are if nobody changes the schedule. */
export function listNextRuns(rule: ScheduleRule, afterMs: number): NextRun[] {
  return listSlots(rule, afterMs, Infinity, NEXT_RUNS).map((slot) => ({
    at: new Date(slot).toISOString(),
    local: describeLocal(slot, rule.timeZone),
    note: describeChange(slot, rule),
  }))
}

/** `2027-03-28 03:00:00 +02:00` */
function describeLocal(slot: number, timeZone: string): string {
  const minutes = Math.round(offsetAt(slot, timeZone) / 60_000)
  const [hour, minute] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60]
  const pad = (value: number) => String(value).padStart(2, '0')
  const wall = new Date(toWall(slot, timeZone)).toISOString().replace('T', ' ').slice(0, 19)
  return `${wall} ${minutes < 0 ? '-' : '+'}${pad(hour)}:${pad(minute)}`
}

/** Only an expression follows clocks. At the end of a gap, the clocks show a time that does not fit it. */
function describeChange(slot: number, { cron, timeZone }: ScheduleRule): NextRun['note'] {
  if (cron === null) return null
  const wallMs = toWall(slot, timeZone)
  if (!parseCron(cron).fits(wallMs)) return 'gap'
  return instantsOf(wallMs, timeZone).length > 1 ? 'repeated' : null
}
