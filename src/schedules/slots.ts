/**
 * The slots of a schedule: the moments at which it is due.
 *
 * When clocks change, a cron expression follows its wall clock:
 * - A time that the clocks show twice is one slot, at the first of the two.
 * - A time in a gap is a slot at the end of the gap, or none (`gap: skip`). Several times in one gap are one slot.
 * - An expression that fits every hour goes on in real time: it has slots at both of two equal times, and none in a gap.
 */
import { MIN_INTERVAL_MS, type ScheduleRule } from '../protocol/schedule.js'
import { LAST_INSTANT } from '../protocol/task.js'
import { parseCron, type CronRule } from './cron.js'
import { findChange, gapEndOf, instantsOf, offsetAt, toWall } from './wall-time.js'

const DAY_MS = 86_400_000
const LAST_MS = Date.parse(LAST_INSTANT)
/** A rule without a slot after so many changes of the clocks in a row has none. */
const MAX_STEPS = 1_000

/** The first slot after this instant, in milliseconds since 1970; undefined if there is none. */
export function nextSlot(rule: ScheduleRule, afterMs: number): number | undefined {
  const { startsAt, endsAt } = rule
  // The start is the first possible slot.
  const fromMs = startsAt === null ? afterMs : Math.max(afterMs, Date.parse(startsAt) - 1)
  const slot = nextOf(rule, fromMs)
  if (slot === undefined || slot > LAST_MS || (endsAt !== null && slot >= Date.parse(endsAt))) return undefined
  return slot
}

function nextOf({ cron, everyMs, anchor, at, timeZone, gap }: ScheduleRule, afterMs: number): number | undefined {
  if (at !== null) return Date.parse(at) > afterMs ? Date.parse(at) : undefined
  if (everyMs !== null) {
    const anchorMs = anchor === null ? 0 : Date.parse(anchor)
    return anchorMs + (Math.floor((afterMs - anchorMs) / everyMs) + 1) * everyMs
  }
  if (cron === null) return undefined
  const expression = parseCron(cron)
  return expression.isHourly
    ? nextInRealTime(expression, afterMs, timeZone)
    : nextByClock(expression, afterMs, timeZone, gap)
}

/** @returns the first slot after `afterMs` of an expression that names hours */
function nextByClock(cron: CronRule, afterMs: number, timeZone: string, gap: ScheduleRule['gap']): number | undefined {
  let wallMs: number | undefined = toWall(afterMs, timeZone)
  for (let step = 0; step < MAX_STEPS; step += 1) {
    wallMs = cron.next(wallMs)
    if (wallMs === undefined) return undefined
    const [first, second] = instantsOf(wallMs, timeZone)
    if (first !== undefined && first > afterMs) return first
    if (first === undefined) {
      const end = gapEndOf(wallMs, timeZone)
      if (gap === 'run' && end > afterMs) return end
      // All times in the gap are alike.
      wallMs = toWall(end, timeZone) - 1
    } else if (second !== undefined) {
      // All times that are shown for the second time are alike.
      const change = findChange(first, second, timeZone) ?? second
      wallMs = toWall(change - 1, timeZone)
    }
  }
  return undefined
}

/** @returns the first instant after `afterMs` at which the clocks show a time that fits */
function nextInRealTime(cron: CronRule, afterMs: number, timeZone: string): number | undefined {
  let fromMs = afterMs
  for (let step = 0; step < MAX_STEPS; step += 1) {
    const offset = offsetAt(fromMs + 1, timeZone)
    const wallMs = cron.next(fromMs + offset)
    if (wallMs === undefined) return undefined
    const slot = wallMs - offset
    const untilMs = Math.min(slot, fromMs + DAY_MS)
    const change = findChange(fromMs + 1, untilMs, timeZone)
    if (change === undefined && untilMs === slot) return slot
    // Nothing fits before the change. If there is none within a day, go on near the slot, before which clocks may change.
    fromMs = change === undefined ? Math.max(untilMs, slot - 2 * DAY_MS) : change - 1
  }
  return undefined
}

/** Slots in order; `isCut`: there were others before them. */
export interface Slots {
  slots: number[]
  isCut: boolean
}

/** The slots after `afterMs` and up to `untilMs`, at most the newest `max`. Takes time for `max` slots, however many there are. */
export function slotsBetween(rule: ScheduleRule, afterMs: number, untilMs: number, max: number): Slots {
  let found: number[] = []
  let [endMs, spanMs] = [untilMs, max * MIN_INTERVAL_MS]
  while (endMs > afterMs && found.length < max) {
    const startMs = Math.max(afterMs, endMs - spanMs)
    const part = listSlots(rule, startMs, endMs, max + 1)
    if (part.length > max) {
      spanMs /= 2
      continue
    }
    found = [...part, ...found]
    endMs = startMs
    if (part.length === 0) spanMs *= 2
  }
  const earlier = nextSlot(rule, afterMs) ?? Infinity
  return { slots: found.slice(-max), isCut: found.length > max || earlier <= endMs }
}

/** The first slots after `afterMs` and up to `untilMs`, at most `max`. */
export function listSlots(rule: ScheduleRule, afterMs: number, untilMs: number, max: number): number[] {
  const slots: number[] = []
  let slot = nextSlot(rule, afterMs)
  while (slot !== undefined && slot <= untilMs && slots.length < max) {
    slots.push(slot)
    slot = nextSlot(rule, slot)
  }
  return slots
}
