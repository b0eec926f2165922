/**
 * Wall times: what the clocks of a time zone show. A wall time is written as the instant at which a clock in UTC shows
 * it, so that calendars and arithmetic work on it without knowing the zone.
 */

const DAY_MS = 86_400_000

const formats = new Map<string, Intl.DateTimeFormat>()

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone)
  if (known !== undefined) return known
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  formats.set(timeZone, format)
  return format
}

/** Whether this is the name of a time zone, such as `Europe/Berlin`. Later versions of Node know offsets, too. */
export function isTimeZone(name: string): boolean {
  if (!/^[a-z]/i.test(name)) return false
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name })
    return true
  } catch {
    return false
  }
}

/** What the clocks of the zone show at this instant. */
export function toWall(instantMs: number, timeZone: string): number {
  return instantMs + offsetAt(instantMs, timeZone)
}

/** How far the clocks of the zone are ahead of UTC at this instant, in milliseconds. */
export function offsetAt(instantMs: number, timeZone: string): number {
  if (timeZone === 'UTC') return 0
  const shown: Record<string, number> = {}
  for (const { type, value } of formatOf(timeZone).formatToParts(instantMs)) shown[type] = Number(value)
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = shown
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(instantMs / 1_000) * 1_000
}

/**
 * When the clocks show this: once, twice when they are set back over it, or never, in the gap when they are set forward.
 * Earliest first.
 */
export function instantsOf(wallMs: number, timeZone: string): number[] {
  const offsets = new Set([offsetAt(wallMs - DAY_MS, timeZone), offsetAt(wallMs + DAY_MS, timeZone)])
  return [...offsets]
    .map((offset) => wallMs - offset)
    .filter((instantMs) => toWall(instantMs, timeZone) === wallMs)
    .sort((a, b) => a - b)
}

/** The end of the gap in which the clocks never show this. */
export function gapEndOf(wallMs: number, timeZone: string): number {
  return findChange(wallMs - DAY_MS, wallMs + DAY_MS, timeZone) ?? wallMs
}

/** When the clocks were changed between the two instants; undefined if they show the same offset. */
export function findChange(fromMs: number, untilMs: number, timeZone: string): number | undefined {
  const before = offsetAt(fromMs, timeZone)
  if (offsetAt(untilMs, timeZone) === before) return undefined
  let [low, high] = [fromMs, untilMs]
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (offsetAt(middle, timeZone) === before) low = middle
    else high = middle
  }
  return high
}
