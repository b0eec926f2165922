/** Reads for `report.generate`: figures over the tasks created in a period, each from one statement. */
import type { Principal } from '../../access/principal.js'
import type { Database, Statement } from '../../db/database.js'
import type { Status } from '../../protocol/status.js'
import type { TaskId } from '../../protocol/task.js'

/** For a statement that reads a whole period, in milliseconds. */
const DEADLINE_MS = 300_000

export interface ReportScope {
  from: Date
  /** Exclusive. */
  to: Date
  /** Only tasks of this type. Default: all. */
  type?: string | undefined
}

export interface ReportPeriod {
  from: Date
  to: Date
  now: Date
}

/** PostgreSQL parses the times, and its clock is "now". In milliseconds, like stored times. */
const READ_PERIOD: Statement = {
  name: 'report_read_period',
  text: `
with ends as (
  select coalesce($2::text::timestamptz, now())::timestamptz(3) as "to"
)
select
  coalesce($1::text::timestamptz, "to" - interval '24 hours')::timestamptz(3) as "from",
  "to",
  now()::timestamptz(3) as now
from ends`,
}

/** @param to null: now. @param from null: 24 hours before `to` */
export async function readReportPeriod(db: Database, from: string | null, to: string | null): Promise<ReportPeriod> {
  const [period] = await db.run<ReportPeriod>(READ_PERIOD, [from, to])
  if (!period) throw new Error('PostgreSQL gave no time')
  return period
}

const IN_SCOPE = `from taskwire.tasks
where tenant = $1
  and created_at >= $2::text::timestamptz
  and created_at < $3::text::timestamptz
  and ($4::text is null or type = $4::text)`

const parametersOf = ({ tenant }: Principal, { from, to, type }: ReportScope) => [
  tenant,
  from.toISOString(),
  to.toISOString(),
  type ?? null,
]

export interface ReportedCount {
  type: string
  status: Status
  count: number
}

const COUNT_TASKS: Statement = {
  name: 'report_count_tasks',
  deadlineMs: DEADLINE_MS,
  text: `
select type, status, count(*)::int as count
${IN_SCOPE}
group by type, status
order by type`,
}

/** All counts come from one statement, so they add up while tasks change. */
export function countReportedTasks(principal: Principal, db: Database, scope: ReportScope): Promise<ReportedCount[]> {
  return db.run<ReportedCount>(COUNT_TASKS, parametersOf(principal, scope))
}

/** In milliseconds. */
interface Durations {
  p50: number
  p95: number
  max: number
}

export interface ReportedTimes {
  type: string
  durationMs: Durations | null
  waitMs: Durations | null
}

/** A scheduled task could not start before its run time. A run time after the start belongs to a later attempt. */
const COULD_START_AT = 'greatest(created_at, case when run_at <= started_at then run_at end)'

const MEASURE_TIMES: Statement = {
  name: 'report_measure_times',
  deadlineMs: DEADLINE_MS,
  text: `
select type, ${percentiles('duration_ms')} as "durationMs", ${percentiles('wait_ms')} as "waitMs"
from (
  select
    type,
    ${milliseconds('finished_at - started_at')} as duration_ms,
    ${milliseconds(`started_at - ${COULD_START_AT}`)} as wait_ms
  ${IN_SCOPE}
) as times
group by type`,
}

export function measureReportedTasks(principal: Principal, db: Database, scope: ReportScope): Promise<ReportedTimes[]> {
  return db.run<ReportedTimes>(MEASURE_TIMES, parametersOf(principal, scope))
}

export interface ReportedFailure {
  message: string
  type: string
  count: number
  lastAt: Date | null
  /** The latest task with this failure. */
  exampleTaskId: TaskId
}

const GROUP_FAILURES: Statement = {
  name: 'report_group_failures',
  deadlineMs: DEADLINE_MS,
  text: `
select
  left(coalesce(failure->>'message', 'no message'), 500) as message,
  type,
  count(*)::int as count,
  max(finished_at) as "lastAt",
  (array_agg(id order by finished_at desc nulls last, id desc))[1] as "exampleTaskId"
${IN_SCOPE}
  and status = 'FAILED'
group by 1, 2
order by count desc, "lastAt" desc nulls last, message, type
limit $5::int`,
}

/** By message and type, the most frequent first. */
export function groupReportedFailures(
  principal: Principal,
  db: Database,
  scope: ReportScope,
  limit: number,
): Promise<ReportedFailure[]> {
  return db.run<ReportedFailure>(GROUP_FAILURES, [...parametersOf(principal, scope), limit])
}

function milliseconds(interval: string): string {
  return `(extract(epoch from (${interval})) * 1000)::float8`
}

function percentiles(column: string): string {
  const at = (fraction: number) => `round(percentile_cont(${fraction}) within group (order by ${column}))`
  return `case
  when count(${column}) > 0 then jsonb_build_object('p50', ${at(0.5)}, 'p95', ${at(0.95)}, 'max', round(max(${column})))
end`
}
