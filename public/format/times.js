/** Times and durations in words. Pure. */
import { times as text } from '../text/en.js'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' })

/** `340 ms`, `1.5 s`, `2 min 5 s`, `3 h 12 min`, `4 d 2 h`. */
export function describeDuration(ms) {
  const positiveMs = Math.max(0, ms)
  if (positiveMs < 1_000) return `${Math.round(positiveMs)} ${text.ms}`
  if (positiveMs < 10_000) return `${(Math.floor(positiveMs / 100) / 10).toFixed(1)} ${text.second}`
  return describeSeconds(positiveMs)
}

/** The same in whole seconds, for durations that are still counting. */
export function describeSeconds(ms) {
  const positiveMs = Math.max(0, ms)
  if (positiveMs < MINUTE_MS) return `${Math.floor(positiveMs / 1_000)} ${text.second}`
  if (positiveMs < HOUR_MS) return inTwoUnits(positiveMs, MINUTE_MS, text.minute, 1_000, text.second)
  if (positiveMs < DAY_MS) return inTwoUnits(positiveMs, HOUR_MS, text.hour, MINUTE_MS, text.minute)
  return inTwoUnits(positiveMs, DAY_MS, text.day, HOUR_MS, text.hour)
}

function inTwoUnits(ms, unitMs, unit, smallUnitMs, smallUnit) {
  const rest = Math.floor((ms % unitMs) / smallUnitMs)
  return `${Math.floor(ms / unitMs)} ${unit}${rest > 0 ? ` ${rest} ${smallUnit}` : ''}`
}

/** `just now`, `5 s ago`, `in 20 s`: one unit is enough at a glance. */
export function describeAgo(instant, now) {
  const ageMs = now - Date.parse(instant)
  if (ageMs < -500) return text.in(describeRoughly(-ageMs + 999))
  return ageMs < 2_000 ? text.justNow : text.ago(describeRoughly(ageMs))
}

/**
 * The age of a heartbeat, which is sent each second and read every other. A few seconds are no news, and their change
 * would be the only thing that moves.
 */
export function describeHeartbeat(instant, now) {
  const ageMs = now - Date.parse(instant)
  return ageMs < 5_000 ? text.justNow : text.ago(describeRoughly(ageMs))
}

/** In one unit. */
export function describeRoughly(ms) {
  return describeSeconds(ms).split(' ').slice(0, 2).join(' ')
}

/** The time until something is due, which may already be past. */
export function describeDue(instant, now) {
  const leftMs = Date.parse(instant) - now
  return leftMs > 0 ? text.in(describeSeconds(leftMs + 999)) : text.anyMoment
}

export function describeInstant(instant) {
  return absolute.format(new Date(instant))
}

/** The time of day with milliseconds, for log lines close together. */
export function describeTimeOfDay(instant) {
  const date = new Date(instant)
  return `${date.toLocaleTimeString('en-GB')}.${String(date.getMilliseconds()).padStart(3, '0')}`
}
