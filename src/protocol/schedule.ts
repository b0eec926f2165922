/** Schedules: rules that make tasks, as clients set and read them. */
import { Type, type Static } from 'typebox'
import { CreateTask } from './http.js'
import { MAX_DELAY_MS } from './limits.js'
import { Instant, Reason, TaskId } from './names.js'
import { Nullable } from './nullable.js'
import { Status } from './status.js'

/** The shortest time between two slots of a schedule. */
export const MIN_INTERVAL_MS = 1_000
/** The most slots that one request fills in, and that a schedule catches up on. */
export const MAX_SLOTS = 1_000
/** The longest expression. */
export const MAX_CRON_LENGTH = 200
/** How many of the next runs are shown. */
export const NEXT_RUNS = 10

const closed = { additionalProperties: false } as const

export const ScheduleName = Type.String({
  maxLength: 100,
  // `/api/schedules/preview` is something else.
  pattern: '^(?!preview$)[a-z0-9][a-z0-9._-]*$',
  examples: ['nightly-report'],
})

const Gap = Type.Enum(['run', 'skip'])
const Overlap = Type.Enum(['allow', 'skip', 'queue', 'replace'])
const CatchUp = Type.Enum(['none', 'last', 'all'])

const { title, type, payload, priority, tags, queue, concurrencyKey, sequenceKey, onFailure, cost, callbackUrl } =
  CreateTask.properties

/** What each slot creates: a task as in `POST /api/tasks`, without the times, which the schedule decides. */
export const ScheduledTask = Type.Object(
  {
    ...{ title, type, payload, priority, tags, queue, concurrencyKey, sequenceKey, onFailure, cost, callbackUrl },
    expiresAfterMs: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_DELAY_MS,
        description: 'a task that has not started this many milliseconds after it could is EXPIRED',
      }),
    ),
  },
  { ...closed, examples: [{ title: 'nightly report' }] },
)
export type ScheduledTask = Static<typeof ScheduledTask>

/** What a client sends: exactly one of `cron`, `everyMs` and `at`. */
const SPEC = {
  cron: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: MAX_CRON_LENGTH,
      examples: ['0 3 * * *'],
      description:
        'minute, hour, day, month, weekday; with a sixth field in front for seconds; or a nickname such as @daily',
    }),
  ),
  everyMs: Type.Optional(
    Type.Integer({
      minimum: MIN_INTERVAL_MS,
      maximum: MAX_DELAY_MS,
      description: 'the time from one slot to the next',
    }),
  ),
  anchor: Type.Optional({
    ...Instant,
    description: 'with everyMs: slots are a multiple of everyMs before or after it; the start of 1970 if omitted',
  }),
  at: Type.Optional({ ...Instant, description: 'the only slot' }),
  timeZone: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 50,
      examples: ['Europe/Berlin'],
      description: 'of the cron expression, and of the times shown; UTC if omitted',
    }),
  ),
  gap: Type.Optional({
    ...Gap,
    description:
      'what becomes of a time that the clocks leave out when they are set forward: it is due at the end of the gap (run, the default), ' +
      'or not at all (skip)',
  }),
  startsAt: Type.Optional({ ...Instant, description: 'no slot is before it' }),
  endsAt: Type.Optional({ ...Instant, description: 'all slots are before it' }),
  task: ScheduledTask,
  overlap: Type.Optional({
    ...Overlap,
    description:
      'what a slot does while a task of an earlier slot has not ended: create one beside it (allow, the default), create none (skip), ' +
      'create one that waits for it (queue), or cancel it first (replace)',
  }),
  catchUp: Type.Optional({
    ...CatchUp,
    description:
      'which slots are made up for that are more than a minute late, as after an outage: none, the last one (the default), or all',
  }),
  maxCatchUp: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: MAX_SLOTS,
      description: 'with catchUp all: at most so many of them, the newest; 100 if omitted',
    }),
  ),
  spreadMs: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 86_400_000,
      description:
        'each schedule starts its tasks at an offset of its own within this time, so that those of one moment do not all start at once',
    }),
  ),
  pauseAfterFailures: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: MAX_SLOTS,
      description: 'pauses the schedule when the tasks of so many slots in a row are FAILED or EXPIRED',
    }),
  ),
}

/** A schedule to set. */
export const PutSchedule = Type.Object(
  { ...SPEC, reason: Type.Optional(Reason) },
  { ...closed, examples: [{ cron: '0 3 * * *', timeZone: 'Europe/Berlin', task: { title: 'nightly report' } }] },
)
export type PutSchedule = Static<typeof PutSchedule>

/** When a schedule is due. */
const RULE = {
  cron: Nullable(Type.String()),
  everyMs: Nullable(Type.Integer()),
  anchor: Nullable(Instant),
  at: Nullable(Instant),
  timeZone: Type.String(),
  gap: Gap,
  startsAt: Nullable(Instant),
  endsAt: Nullable(Instant),
}
export const ScheduleRule = Type.Object(RULE, closed)
export type ScheduleRule = Static<typeof ScheduleRule>

/** A schedule with everything that was left out. */
export const ScheduleSpec = Type.Object(
  {
    ...RULE,
    task: ScheduledTask,
    overlap: Overlap,
    catchUp: CatchUp,
    maxCatchUp: Type.Integer(),
    spreadMs: Type.Integer(),
    pauseAfterFailures: Nullable(Type.Integer()),
  },
  closed,
)
export type ScheduleSpec = Static<typeof ScheduleSpec>

/**
 * What became of a slot:
 *
 * - `created`: it has a task.
 * - `missed`: it was too late for it, and `catchUp` does not make up for it.
 * - `overlap`: a task of an earlier slot had not ended.
 * - `paused`: the schedule was paused.
 * - `unique`: an unfinished task has the unique key that the type makes.
 */
export const SLOT_OUTCOMES = ['created', 'missed', 'overlap', 'paused', 'unique'] as const
export type SlotOutcome = (typeof SLOT_OUTCOMES)[number]

const SlotOrigin = Type.Enum(['schedule', 'run', 'backfill'])
export type SlotOrigin = Static<typeof SlotOrigin>

/** A slot that has been: the task that it made, or why it made none. */
export const Slot = Type.Object({
  slot: { ...Instant, description: 'when it was due' },
  origin: { ...SlotOrigin, description: 'who asked for it: the schedule, or a person, by a run now or a backfill' },
  outcome: Type.Enum([...SLOT_OUTCOMES]),
  madeAt: { ...Instant, description: 'when that was decided' },
  taskId: Nullable(TaskId),
  status: Nullable({ ...Status, description: 'of its task' }),
})
export type Slot = Static<typeof Slot>

/** Newest first. `nextCursor` is null on the last page. */
export const SlotPage = Type.Object({ items: Type.Array(Slot), nextCursor: Nullable(Type.String()) })
export type SlotPage = Static<typeof SlotPage>

/** A run to come. */
export const NextRun = Type.Object({
  at: Instant,
  local: Type.String({ examples: ['2027-03-28 03:00:00 +02:00'], description: 'in the time zone of the schedule' }),
  note: Nullable(
    Type.Enum(['gap', 'repeated'], {
      description:
        'gap: the clocks leave its time out, and it is due at the end of the gap; repeated: the clocks show its time twice',
    }),
  ),
})
export type NextRun = Static<typeof NextRun>

/** When a schedule would run. */
export const SchedulePreview = Type.Object({
  words: Type.String({ examples: ['At 03:00'], description: 'the rule in words' }),
  nextRuns: Type.Array(NextRun, { description: `at most ${NEXT_RUNS}` }),
})
export type SchedulePreview = Static<typeof SchedulePreview>

export const Schedule = Type.Object({
  name: ScheduleName,
  ...ScheduleSpec.properties,
  words: SchedulePreview.properties.words,
  nextSlot: Nullable({ ...Instant, description: 'null if there is no more' }),
  lastSlot: Nullable(Slot),
  failures: Type.Integer({
    minimum: 0,
    description: 'how many of the last slots in a row have FAILED or EXPIRED tasks',
  }),
  paused: Nullable(Type.Object({ by: Type.String(), at: Instant, reason: Nullable(Type.String()) })),
  source: Type.Enum(['api', 'code'], { description: 'who defined it first' }),
  code: Nullable({ ...ScheduleSpec, description: 'what the code says, where that is something else' }),
  setBy: Type.String(),
  setAt: Instant,
  reason: Nullable(Type.String()),
})
export type Schedule = Static<typeof Schedule>

/** In the order of names. `nextCursor` is null on the last page. */
export const SchedulePage = Type.Object({ items: Type.Array(Schedule), nextCursor: Nullable(Type.String()) })
export type SchedulePage = Static<typeof SchedulePage>

/** A schedule with its next runs. */
export const ScheduleDetail = Type.Object({ ...Schedule.properties, nextRuns: SchedulePreview.properties.nextRuns })
export type ScheduleDetail = Static<typeof ScheduleDetail>

export const ScheduleParams = Type.Object({ name: ScheduleName })
export const SchedulesQuery = Type.Object(
  {
    cursor: Type.Optional({ ...ScheduleName, description: 'nextCursor of the previous page' }),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50 })),
  },
  closed,
)
export const SlotsQuery = Type.Object(
  {
    cursor: Type.Optional({ ...Instant, description: 'nextCursor of the previous page' }),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50 })),
  },
  closed,
)
export const PauseSchedule = Type.Object({ reason: Type.Optional(Reason) }, closed)

/** The slots from `from` up to, and without, `to`. */
export const Backfill = Type.Object(
  {
    from: Instant,
    to: { ...Instant, description: 'at most now' },
    dryRun: Type.Optional(Type.Boolean({ description: 'only lists the slots' })),
  },
  { ...closed, examples: [{ from: '2026-11-01T00:00:00Z', to: '2026-11-08T00:00:00Z', dryRun: true }] },
)
export type Backfill = Static<typeof Backfill>

/** What a run now has made. */
export const RunNowAnswer = Type.Object({
  slot: Instant,
  taskId: Nullable({ ...TaskId, description: 'null if an unfinished task has the unique key that the type makes' }),
})

export const BackfillAnswer = Type.Object({
  made: Type.Integer({ minimum: 0, description: 'how many tasks were created, or would be' }),
  items: Type.Array(
    Type.Object({
      slot: Instant,
      taskId: Nullable({ ...TaskId, description: 'of the slot; null for a dry run, and if it made none' }),
      isNew: Type.Boolean({ description: 'whether this request fills the slot in' }),
    }),
  ),
})
export type BackfillAnswer = Static<typeof BackfillAnswer>
