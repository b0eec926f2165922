/** Times, durations and the standing of a task, in words. */

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' })

/** `340 ms`, `1.5 s`, `2 min 5 s`, `3 h 12 min`, `4 d 2 h`. */
export function describeDuration(ms) {
  const positiveMs = Math.max(0, ms)
  if (positiveMs < 1_000) return `${Math.round(positiveMs)} ms`
  if (positiveMs < 10_000) return `${(Math.floor(positiveMs / 100) / 10).toFixed(1)} s`
  return describeSeconds(positiveMs)
}

/** The same in whole seconds, for what is still counting. */
export function describeSeconds(ms) {
  const positiveMs = Math.max(0, ms)
  if (positiveMs < MINUTE_MS) return `${Math.floor(positiveMs / 1_000)} s`
  if (positiveMs < HOUR_MS) return inTwoUnits(positiveMs, MINUTE_MS, 'min', 1_000, 's')
  if (positiveMs < DAY_MS) return inTwoUnits(positiveMs, HOUR_MS, 'h', MINUTE_MS, 'min')
  return inTwoUnits(positiveMs, DAY_MS, 'd', HOUR_MS, 'h')
}

function inTwoUnits(ms, unitMs, unit, smallUnitMs, smallUnit) {
  const rest = Math.floor((ms % unitMs) / smallUnitMs)
  return `${Math.floor(ms / unitMs)} ${unit}${rest > 0 ? ` ${rest} ${smallUnit}` : ''}`
}

/** `just now`, `5 s ago`, `in 20 s`: one unit is enough at a glance. */
export function describeAgo(instant, now) {
  const ageMs = now - Date.parse(instant)
  if (ageMs < -500) return `in ${firstUnit(describeSeconds(-ageMs + 999))}`
  return ageMs < 2_000 ? 'just now' : `${firstUnit(describeSeconds(ageMs))} ago`
}

function firstUnit(text) {
  return text.split(' ').slice(0, 2).join(' ')
}

export function describeInstant(instant) {
  return absolute.format(new Date(instant))
}

/** The time of day with milliseconds, for lines that follow each other closely. */
export function describeTimeOfDay(instant) {
  const date = new Date(instant)
  return `${date.toLocaleTimeString('en-GB')}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

/** How long a task ran, or null when it never did. */
function runMsOf(task, now) {
  if (task.startedAt === null) return null
  return (task.finishedAt ? Date.parse(task.finishedAt) : now) - Date.parse(task.startedAt)
}

/** The one-glance answer: is it done, how long did it take, what is it waiting for. `sinceAt` is when this status began. */
export function describeStanding(task, sinceAt, now) {
  const forHowLong = describeSeconds(now - Date.parse(sinceAt))
  const runMs = runMsOf(task, now)
  const took = runMs === null ? '' : describeDuration(runMs)
  switch (task.status) {
    case 'SCHEDULED':
      return task.runAt ? `Starts ${describeDue(task.runAt, now)}` : 'Starts later'
    case 'WAITING':
      return `Waiting for ${forHowLong}`
    case 'PENDING':
      return `Waiting for a worker for ${forHowLong}`
    case 'PROCESSING':
      return `Running for ${forHowLong}`
    case 'RETRYING':
      return `Attempt ${task.attempt} failed${task.runAt ? `; the next starts ${describeDue(task.runAt, now)}` : ''}`
    case 'CANCELLING':
      return `Asked to stop ${forHowLong} ago`
    case 'COMPLETED':
      return `Completed in ${took || '0 ms'}`
    case 'FAILED':
      return took ? `Failed after ${took}` : 'Failed before it could start'
    case 'CANCELLED':
      return took ? `Cancelled after ${took}` : 'Cancelled before it started'
    default:
      return 'Expired: its time ran out before it could run'
  }
}

function describeDue(instant, now) {
  const leftMs = Date.parse(instant) - now
  return leftMs > 0 ? `in ${describeSeconds(leftMs + 999)}` : 'any moment now'
}

/** The standing of a connection: how old what is shown may be, and when it is tried again. */
export function describeConnection({ state, text, retryAt, lostAt }, now) {
  if (state !== 'reconnecting' && state !== 'away') return text
  const leftMs = (retryAt ?? 0) - Date.now()
  const when = leftMs >= 1_000 ? ` in ${Math.round(leftMs / 1_000)} s…` : '…'
  const ageMs = lostAt === undefined ? 0 : now - lostAt
  const age = ageMs >= 2_000 ? ` Last news ${firstUnit(describeSeconds(ageMs))} ago` : ''
  return `${state === 'away' ? 'Server away, trying again' : 'Reconnecting'}${when}${age}`
}
