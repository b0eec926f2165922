// @ts-check
/** What a task waits for, in words. Pure. */
import { isFinal } from '../protocol.js'
import { waiting as text } from '../text/en.js'
import { describeDue, describeInstant } from './times.js'

/** @typedef {import('../../src/protocol/waiting.js').WaitingFor} WaitingFor */
/** @typedef {{ waitingFor?: WaitingFor | null }} Waits */

const SECOND_MS = 1_000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
/** A unit is used up to this time, so that its numbers stay small without saying too little. */
const UNITS = /** @type {const} */ ([
  ['second', SECOND_MS, 100 * SECOND_MS],
  ['minute', MINUTE_MS, 100 * MINUTE_MS],
  ['hour', HOUR_MS, 2 * DAY_MS],
  ['day', DAY_MS, Infinity],
])
/** A time in the words of the server, which does not know the reader's zone. */
const INSTANT = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g

/** What a task waits for, if it waits and the server says it. @param {Waits & { status: string }} task */
export function findWaiting({ status, waitingFor }) {
  const isRunning = status === 'PROCESSING' || status === 'CANCELLING'
  return isRunning || isFinal(/** @type {never} */ (status)) ? undefined : (waitingFor ?? undefined)
}

/** Of these the page says more than the server: how long until then. */
const COUNTED = ['run_time', 'backoff']

/**
 * The reason as a sentence without its full stop, as all standings are; '' if none is known, or if the general sentence
 * says it better.
 * @param {Waits & { status: string }} task
 */
export function describeWaiting(task) {
  const { code, text: reason } = findWaiting(task) ?? { code: '', text: '' }
  const words = COUNTED.includes(code) ? '' : reason.replaceAll(INSTANT, describeInstant)
  return words && `${words[0]?.toUpperCase()}${words.slice(1)}`.replace(/\.$/, '')
}

/**
 * When that ends, how many are ahead of it and when it may start, as sentences.
 * @param {WaitingFor} waitingFor @param {number} now
 */
export function describeOutlook({ code, until, ahead, start }, now) {
  /** @type {Record<string, (when: string) => string>} */
  const ends = text.until
  return [
    until !== null && !COUNTED.includes(code) && (ends[code] ?? text.untilAny)(describeDue(until, now)),
    ahead !== null && text.ahead(ahead),
    start !== null && describeStart(start, now),
  ]
    .filter(Boolean)
    .join(' ')
}

/**
 * `Starts in about 2 minutes (1 to 5).`, all in the unit of the likely time.
 * @param {NonNullable<WaitingFor['start']>} start @param {number} now
 */
export function describeStart({ at, earliestAt, latestAt }, now) {
  const [earliestMs, likelyMs, latestMs] = [earliestAt, at, latestAt].map((instant) => Date.parse(instant) - now)
  if (earliestMs === undefined || likelyMs === undefined || latestMs === undefined || latestMs <= 0)
    return text.startsSoon
  const isOverdue = likelyMs <= 0
  const [unit, unitMs] = unitOf(isOverdue ? latestMs : likelyMs)
  const high = Math.max(1, Math.ceil(latestMs / unitMs))
  if (isOverdue) return text.startsWithin(high, unit)
  const likely = Math.min(high, Math.max(1, Math.round(likelyMs / unitMs)))
  return text.starts(likely, unit, Math.min(likely, Math.max(0, Math.floor(earliestMs / unitMs))), high)
}

/** @param {number} ms */
function unitOf(ms) {
  return UNITS.find(([, , maxMs]) => ms < maxMs) ?? UNITS[3]
}
