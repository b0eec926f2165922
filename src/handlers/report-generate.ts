/** A report over the stored tasks: an example of a handler that reads the database and reports progress by section. */
import { pipeline } from 'node:stream/promises'
import { Type, type Static } from 'typebox'
import type { Statement } from '../db/database.js'
import { STATUSES, type Status } from '../protocol/status.js'
import { Instant, TaskId, TaskType } from '../protocol/task.js'
import { defineTask } from '../tasks/definition.js'
import { PermanentFailure } from '../tasks/outcome-errors.js'
import { checkPeriod } from './check-period.js'
import { renderReport } from './report-html.js'

const MAX_FAILURES = 20
const SECTIONS = 4
/** A statement that reads a whole period. */
const DEADLINE_MS = 300_000

const Count = Type.Integer({ minimum: 0 })
const Durations = Type.Union([
  Type.Object({ p50: Type.Number(), p95: Type.Number(), max: Type.Number() }, { additionalProperties: false }),
  Type.Null(),
])
type Durations = Static<typeof Durations>

const TypeFigures = Type.Object(
  {
    type: TaskType,
    total: Count,
    completed: Count,
    failed: Count,
    durationMs: { ...Durations, description: 'From start to end, of tasks that ended after a start; null without.' },
    waitMs: { ...Durations, description: 'From when a task could start to its start; null when none was started.' },
  },
  { additionalProperties: false },
)

const FailureGroup = Type.Object(
  {
    message: Type.String({ description: 'The first 500 characters.' }),
    type: TaskType,
    count: Count,
    lastAt: Type.Union([Instant, Type.Null()]),
    exampleTaskId: { ...TaskId, description: 'The latest task that failed so.' },
  },
  { additionalProperties: false },
)

export const ReportResult = Type.Object(
  {
    period: Type.Object({ from: Instant, to: Instant }, { additionalProperties: false }),
    generatedAt: Instant,
    total: Count,
    byStatus: Type.Object(Object.fromEntries(STATUSES.map((status) => [status, Count])), {
      additionalProperties: false,
    }),
    byType: Type.Array(TypeFigures, { description: 'By name of the type.' }),
    failures: Type.Array(FailureGroup, {
      maxItems: MAX_FAILURES,
      description: 'Failed tasks by message and type, the most frequent first.',
    }),
  },
  { additionalProperties: false },
)

export const reportGenerate = defineTask({
  type: 'report.generate',
  title: 'Report on tasks',
  description:
    'Counts the tasks created in a period by status and type, with run times, wait times and the most frequent ' +
    'failures; as a page with charts and as JSON, which are files of the task. The report itself is a task, and counts as one when it falls into the period.',
  payload: Type.Object(
    {
      from: Type.Optional({
        ...Instant,
        title: 'From',
        description: 'Start of the period; 24 hours before its end when left out.',
      }),
      to: Type.Optional({ ...Instant, title: 'To', description: 'End of the period, not part of it; else now.' }),
      type: Type.Optional({ ...TaskType, title: 'Type', description: 'Only tasks of this type; all when left out.' }),
    },
    { additionalProperties: false },
  ),
  result: ReportResult,
  // One that is left out is known when the report begins.
  checkPayload: ({ from, to }) => checkPeriod({ from, to }, '/to'),

  async run({ from, to, type }, { db, tenant, signal, progress, artifact }) {
    const [period] = await db.run<PeriodRow>(READ_PERIOD, [from ?? null, to ?? null])
    if (!period) throw new Error('PostgreSQL gave no time')
    if (period.from >= period.to) {
      throw new PermanentFailure(
        `the period is empty: from (${period.from.toISOString()}) must be before to (${period.to.toISOString()}). ` +
          'Left out, to is now and from is 24 hours before to.',
      )
    }
    const scope = [tenant, period.from.toISOString(), period.to.toISOString(), type ?? null]
    progress(1, SECTIONS, 'counting tasks')

    signal.throwIfAborted()
    const counts = await db.run<CountRow>(COUNT_TASKS, scope)
    progress(2, SECTIONS, 'measuring run and wait times')

    signal.throwIfAborted()
    const timings = await db.run<TimingRow>(MEASURE_TIMES, scope)
    progress(3, SECTIONS, 'grouping failures')

    signal.throwIfAborted()
    const failures = await db.run<FailureRow>(GROUP_FAILURES, [...scope, MAX_FAILURES])
    progress(4, SECTIONS, 'done')

    const report = {
      period: { from: period.from.toISOString(), to: period.to.toISOString() },
      generatedAt: period.now.toISOString(),
      total: sumOf(counts),
      byStatus: Object.fromEntries(STATUSES.map((status) => [status, sumOf(counts, status)])),
      byType: groupByType(counts, timings),
      failures: failures.map((row) => ({ ...row, lastAt: row.lastAt?.toISOString() ?? null })),
    }
    await pipeline([JSON.stringify(report, null, 2)], artifact('report.json', { mediaType: 'application/json' }))
    await pipeline([renderReport(report)], artifact('report.html', { mediaType: 'text/html; charset=utf-8' }))
    return report
  },
})

interface PeriodRow {
  from: Date
  to: Date
  now: Date
}

/** PostgreSQL reads the times and its clock says what now is. Milliseconds, as stored times have. */
const READ_PERIOD: Statement = {
  name: 'report_read_period',
  text: `
    with ends as (select coalesce($2::text::timestamptz, now())::timestamptz(3) as "to")
    select coalesce($1::text::timestamptz, "to" - interval '24 hours')::timestamptz(3) as "from",
           "to", now()::timestamptz(3) as now
    from ends`,
}

const IN_SCOPE = `
    from taskwire.tasks
    where tenant = $1 and created_at >= $2::text::timestamptz and created_at < $3::text::timestamptz
      and ($4::text is null or type = $4::text)`

interface CountRow {
  type: string
  status: Status
  count: number
}

/** All counts come from this one statement, so they add up while tasks move on. */
const COUNT_TASKS: Statement = {
  name: 'report_count_tasks',
  deadlineMs: DEADLINE_MS,
  text: `select type, status, count(*)::int as count ${IN_SCOPE} group by type, status order by type`,
}

interface TimingRow {
  type: string
  durationMs: Durations
  waitMs: Durations
}

/** A task with a run time could not start before it; a run time after the start belongs to a later attempt. */
const COULD_START_AT = 'greatest(created_at, case when run_at <= started_at then run_at end)'

const MEASURE_TIMES: Statement = {
  name: 'report_measure_times',
  deadlineMs: DEADLINE_MS,
  text: `
    select type, ${percentiles('duration_ms')} as "durationMs", ${percentiles('wait_ms')} as "waitMs"
    from (
      select type,
             ${milliseconds('finished_at - started_at')} as duration_ms,
             ${milliseconds(`started_at - ${COULD_START_AT}`)} as wait_ms
      ${IN_SCOPE}
    ) as times
    group by type`,
}

interface FailureRow {
  message: string
  type: string
  count: number
  lastAt: Date | null
  exampleTaskId: string
}

const GROUP_FAILURES: Statement = {
  name: 'report_group_failures',
  deadlineMs: DEADLINE_MS,
  text: `
    select left(coalesce(failure->>'message', 'no message'), 500) as message, type, count(*)::int as count,
           max(finished_at) as "lastAt",
           (array_agg(id order by finished_at desc nulls last, id desc))[1] as "exampleTaskId"
    ${IN_SCOPE} and status = 'FAILED'
    group by 1, 2
    order by count desc, "lastAt" desc nulls last, message, type
    limit $5::int`,
}

function milliseconds(interval: string): string {
  return `(extract(epoch from (${interval})) * 1000)::float8`
}

function percentiles(column: string): string {
  const at = (fraction: number) => `round(percentile_cont(${fraction}) within group (order by ${column}))`
  return `case when count(${column}) > 0
      then jsonb_build_object('p50', ${at(0.5)}, 'p95', ${at(0.95)}, 'max', round(max(${column}))) end`
}

function sumOf(counts: readonly CountRow[], status?: Status): number {
  return counts.reduce((sum, row) => (status === undefined || row.status === status ? sum + row.count : sum), 0)
}

function groupByType(counts: readonly CountRow[], timings: readonly TimingRow[]): Static<typeof TypeFigures>[] {
  return [...new Set(counts.map((row) => row.type))].map((type) => {
    const ofType = counts.filter((row) => row.type === type)
    const times = timings.find((row) => row.type === type)
    return {
      type,
      total: sumOf(ofType),
      completed: sumOf(ofType, 'COMPLETED'),
      failed: sumOf(ofType, 'FAILED'),
      durationMs: times?.durationMs ?? null,
      waitMs: times?.waitMs ?? null,
    }
  })
}
