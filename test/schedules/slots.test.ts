/**
 * The slots of a rule, compared with an oracle: a walk over every minute that the clocks show, with the time zones of
 * another library.
 */
import fc from 'fast-check'
import t from 'tap'
import { Temporal } from 'temporal-polyfill'
import { listSlots, nextSlot, slotsBetween } from '../../src/schedules/slots.js'
import type { ScheduleRule } from '../../src/protocol/schedule.js'
import { atDepth } from '../helpers/depth.js'

const MINUTE = 60_000
const DAY = 1_440 * MINUTE

const rule = (more: Partial<ScheduleRule>): ScheduleRule => ({
  ...{ cron: null, everyMs: null, anchor: null, at: null, timeZone: 'UTC', gap: 'run', startsAt: null, endsAt: null },
  ...more,
})
const ms = (time: string) => Date.parse(time)
const times = (found: readonly number[]) => found.map((slot) => new Date(slot).toISOString())

/** A field of an expression: a wildcard, a step, or values. */
interface Field {
  text: string
  values: ReadonlySet<number>
  isWildcard: boolean
}

const range = (from: number, to: number, step = 1) =>
  Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step)

function fieldOf(from: number, to: number): fc.Arbitrary<Field> {
  const all = range(from, to)
  return fc.oneof(
    fc.constant({ text: '*', values: new Set(all), isWildcard: true }),
    fc.integer({ min: 2, max: 20 }).map((step) => ({
      text: `*/${step}`,
      values: new Set(all.filter((value) => (value - from) % step === 0)),
      isWildcard: false,
    })),
    fc.uniqueArray(fc.constantFrom(...all), { minLength: 1, maxLength: 4 }).map((values) => ({
      text: values.join(','),
      values: new Set(values),
      isWildcard: false,
    })),
    fc.tuple(fc.constantFrom(...all), fc.constantFrom(...all)).map(([a, b]) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)]
      return { text: `${low}-${high}`, values: new Set(range(low, high)), isWildcard: high - low === to - from }
    }),
  )
}

/** Zones, each with days on which its clocks change: by an hour, by half of one, at midnight, and across the date line. */
const CHANGES: readonly [zone: string, ...days: string[]][] = [
  ['Europe/Berlin', '2026-03-29', '2026-10-25'],
  ['America/New_York', '2026-03-08', '2026-11-01'],
  ['Australia/Lord_Howe', '2026-04-05', '2026-10-04'],
  ['Africa/Cairo', '2026-04-24', '2026-10-29'],
  ['America/Santiago', '2026-04-04', '2026-09-06'],
  ['Pacific/Apia', '2011-12-30'],
  ['Africa/Casablanca', '2026-02-15', '2026-03-22'],
  ['Asia/Kathmandu', '2026-06-01'],
]

const cases = fc.record({
  minute: fieldOf(0, 59),
  hour: fieldOf(0, 23),
  weekday: fc.constantFrom<Field>(
    { text: '*', values: new Set(range(0, 6)), isWildcard: true },
    { text: '1-5', values: new Set(range(1, 5)), isWildcard: false },
    { text: '0', values: new Set([0]), isWildcard: false },
  ),
  gap: fc.constantFrom('run' as const, 'skip' as const),
  change: fc.constantFrom(...CHANGES.flatMap(([zone, ...days]) => days.map((day) => ({ zone, day })))),
})

/** Every minute, as the clocks of the zone show it. */
function* minutesOf(zone: string, fromMs: number, untilMs: number): Generator<Temporal.ZonedDateTime> {
  for (let at = fromMs; at < untilMs; at += MINUTE)
    yield Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(zone)
}

function oracle(
  {
    minute,
    hour,
    weekday,
    gap,
    change,
  }: { minute: Field; hour: Field; weekday: Field; gap: 'run' | 'skip'; change: { zone: string } },
  fromMs: number,
  untilMs: number,
): number[] {
  const fits = (at: Temporal.PlainDateTime) =>
    minute.values.has(at.minute) && hour.values.has(at.hour) && weekday.values.has(at.dayOfWeek % 7)
  const found = new Set<number>()
  const seen = new Set<string>()
  let before: Temporal.PlainDateTime | undefined
  for (const shown of minutesOf(change.zone, fromMs + 1 - 2 * DAY, untilMs)) {
    const wall = shown.toPlainDateTime()
    // The minutes between two that follow each other are those of a gap.
    for (
      let left = before?.add({ minutes: 1 });
      gap === 'run' && !hour.isWildcard && left !== undefined && Temporal.PlainDateTime.compare(left, wall) < 0;
      left = left.add({ minutes: 1 })
    )
      if (fits(left)) found.add(shown.epochMilliseconds)
    if (fits(wall) && (hour.isWildcard || !seen.has(wall.toString()))) found.add(shown.epochMilliseconds)
    seen.add(wall.toString())
    before = wall
  }
  return [...found].filter((at) => at > fromMs && at < untilMs).sort((a, b) => a - b)
}

t.test('slots of any expression, around every kind of change, are those of a walk over all minutes', async (t) => {
  const numRuns = atDepth(30, 2_000)
  let slots = 0
  fc.assert(
    fc.property(cases, (given) => {
      const { minute, hour, weekday, gap, change } = given
      const [fromMs, untilMs] = [ms(`${change.day}T00:00:00Z`) - DAY - 1, ms(`${change.day}T00:00:00Z`) + 2 * DAY]
      const asked = rule({ cron: `${minute.text} ${hour.text} * * ${weekday.text}`, timeZone: change.zone, gap })
      const found = listSlots(asked, fromMs, untilMs - 1, Infinity)
      slots += found.length
      const expected = oracle(given, fromMs, untilMs)
      if (String(found) !== String(expected))
        throw new Error(`${asked.cron} ${change.zone} ${gap}\n${times(found).join(' ')}\n${times(expected).join(' ')}`)
    }),
    { numRuns },
  )
  t.ok(slots > numRuns, `${slots} slots were compared`)
})

const AROUND: readonly [what: string, more: Partial<ScheduleRule>, after: string, slots: string[]][] = [
  [
    'a time in the gap is due at its end',
    { cron: '30 2 * * *', timeZone: 'Europe/Berlin' },
    '2026-03-28T00:00:00Z',
    ['2026-03-28T01:30:00.000Z', '2026-03-29T01:00:00.000Z', '2026-03-30T00:30:00.000Z'],
  ],
  [
    'or not at all',
    { cron: '30 2 * * *', timeZone: 'Europe/Berlin', gap: 'skip' },
    '2026-03-28T00:00:00Z',
    ['2026-03-28T01:30:00.000Z', '2026-03-30T00:30:00.000Z', '2026-03-31T00:30:00.000Z'],
  ],
  [
    'several times in one gap, and its end, are one slot',
    { cron: '0,15,30 2,3 29 3 *', timeZone: 'Europe/Berlin' },
    '2026-03-28T23:00:00Z',
    ['2026-03-29T01:00:00.000Z', '2026-03-29T01:15:00.000Z', '2026-03-29T01:30:00.000Z'],
  ],
  [
    'a time that is shown twice is due once',
    { cron: '30 2 * * *', timeZone: 'Europe/Berlin' },
    '2026-10-24T12:00:00Z',
    ['2026-10-25T00:30:00.000Z', '2026-10-26T01:30:00.000Z', '2026-10-27T01:30:00.000Z'],
  ],
  [
    'also after its first time',
    { cron: '30 2 * * *', timeZone: 'Europe/Berlin' },
    '2026-10-25T01:10:00Z',
    ['2026-10-26T01:30:00.000Z', '2026-10-27T01:30:00.000Z', '2026-10-28T01:30:00.000Z'],
  ],
  [
    'each half hour goes on in real time',
    { cron: '*/30 * * * *', timeZone: 'Europe/Berlin' },
    '2026-10-25T00:00:00Z',
    ['2026-10-25T00:30:00.000Z', '2026-10-25T01:00:00.000Z', '2026-10-25T01:30:00.000Z'],
  ],
  [
    'each second of a gap that is skipped is one step',
    { cron: '* * 2 * * *', timeZone: 'Europe/Berlin', gap: 'skip' },
    '2027-03-28T00:00:00Z',
    ['2027-03-29T00:00:00.000Z', '2027-03-29T00:00:01.000Z', '2027-03-29T00:00:02.000Z'],
  ],
  [
    'so is each second that is shown twice',
    { cron: '* * 0-2 * * *', timeZone: 'Europe/Berlin' },
    '2027-10-31T01:00:00.500Z',
    ['2027-10-31T23:00:00.000Z', '2027-10-31T23:00:01.000Z', '2027-10-31T23:00:02.000Z'],
  ],
  [
    'every second hour is named, so one in the gap is due at its end',
    { cron: '0 */2 * * *', timeZone: 'Europe/Berlin' },
    '2027-03-27T22:30:00Z',
    ['2027-03-27T23:00:00.000Z', '2027-03-28T01:00:00.000Z', '2027-03-28T02:00:00.000Z'],
  ],
  [
    'no slot is after the year 9999',
    { everyMs: 1_000, startsAt: '9999-12-31T23:59:59.500Z' },
    '2026-01-01T00:00:00Z',
    [],
  ],
  [
    'with seconds',
    { cron: '15,45 59 23 31 12 *', timeZone: 'Asia/Kathmandu' },
    '2026-06-01T00:00:00Z',
    ['2026-12-31T18:14:15.000Z', '2026-12-31T18:14:45.000Z', '2027-12-31T18:14:15.000Z'],
  ],
  [
    'an interval counts from its anchor, back and forth',
    { everyMs: 7_000, anchor: '2026-01-01T00:00:03.000Z' },
    '2025-12-31T23:59:50.000Z',
    ['2025-12-31T23:59:56.000Z', '2026-01-01T00:00:03.000Z', '2026-01-01T00:00:10.000Z'],
  ],
  [
    'the start counts, the end does not',
    { cron: '0 * * * *', startsAt: '2026-01-01T05:00:00.000Z', endsAt: '2026-01-01T07:00:00.000Z' },
    '2026-01-01T00:00:00Z',
    ['2026-01-01T05:00:00.000Z', '2026-01-01T06:00:00.000Z'],
  ],
  ['once', { at: '2026-01-01T05:00:00.000Z' }, '2026-01-01T00:00:00Z', ['2026-01-01T05:00:00.000Z']],
  ['never again', { at: '2026-01-01T05:00:00.000Z' }, '2026-01-01T05:00:00Z', []],
]

for (const [what, more, after, slots] of AROUND)
  t.test(what, async (t) => {
    t.same(times(listSlots(rule(more), ms(after), Infinity, 3)), slots)
  })

t.test('the newest slots of any stretch are the last ones of all', async (t) => {
  fc.assert(
    fc.property(
      fc.constantFrom('* * * * * *', '*/5 * * * *', '0 3 * * *', '* * * * 1', '0 0 1 1 *', '* 4 3 * *'),
      fc.integer({ min: 1, max: 40 * 1_440 }),
      fc.integer({ min: 1, max: 50 }),
      (cron, minutes, max) => {
        const untilMs = ms('2026-06-15T10:00:00Z')
        const fromMs = untilMs - (cron.length > 10 ? Math.min(minutes, 90) : minutes) * MINUTE
        const asked = rule({ cron, timeZone: 'Europe/Berlin' })
        const all = listSlots(asked, fromMs, untilMs, Infinity)
        t.same(slotsBetween(asked, fromMs, untilMs, max), { slots: all.slice(-max), isCut: all.length > max })
      },
    ),
    { numRuns: 40 },
  )
  const week = rule({ cron: '* * * * * *' })
  const { slots, isCut } = slotsBetween(week, ms('2026-01-01T00:00:00Z'), ms('2026-12-01T00:00:00Z'), 1_000)
  t.ok(isCut)
  t.equal(slots.length, 1_000, 'a year of seconds takes no time')
  t.equal(nextSlot(week, slots.at(-1) ?? 0), ms('2026-12-01T00:00:01Z'))
})
