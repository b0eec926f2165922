/**
 * Log lines of handlers. In: lines of running attempts, in order. Lines of an attempt that is no longer current are
 * dropped. Out: the messages to publish.
 */
import { markTenant, type Principal } from '../../access/principal.js'
import type { Database, Statement } from '../../db/database.js'
import { inStatuses } from '../../db/status-sql.js'
import { RUNNING_STATUSES } from '../../protocol/status.js'
import type { Event, LogMessage } from '../../protocol/stream.js'
import type { LogLine, TaskId } from '../../protocol/task.js'
import { MAX_PAGE_BYTES } from '../rows.js'
import type { AttemptRef } from './claim.js'

export interface LogReport extends AttemptRef {
  /** Milliseconds since 1970, by the worker's clock. Only the differences within a batch are used. */
  atMs: number
  level: LogLine['level']
  text: string
}

interface LogRow extends Omit<LogLine, 'at'> {
  at: Date
}

interface LogMessageRow extends LogRow {
  taskId: TaskId
  status: LogMessage['status']
  version: number
}

const RECORD_LOGS: Statement = {
  name: 'record_logs',
  // The last line of a batch gets the current time, and earlier lines keep their distance from it.
  text: `
with input as (
  select r."taskId" as id, r.attempt, now() - (max(r."atMs") over () - r."atMs") * interval '1 ms' as at, r.level, r.text, r.ordinal
  from json_to_recordset($1::text::json) as r("taskId" uuid, attempt integer, "atMs" float8, level text, text text, ordinal integer)
), current as (
  select i.*, t.tenant, t.status, t.version
  from input i join taskwire.tasks t on t.id = any(array[i.id])
  where t.attempt = any(array[i.attempt]) and t.status ${inStatuses(RUNNING_STATUSES)}
), stored as (
  insert into taskwire.logs (task_id, attempt, tenant, at, level, text)
  select id, attempt, tenant, at, level, text from current order by ordinal
  returning task_id, seq, attempt, at, level, text
)
select s.task_id as "taskId", c.tenant, c.status, c.version, s.seq::float8 as seq, s.attempt, s.at, s.level, s.text
from stored s join (select distinct id, tenant, status, version from current) c on c.id = s.task_id order by s.seq`,
}

export async function recordLogsIfCurrent(db: Database, reports: readonly LogReport[]): Promise<Event[]> {
  const rows = await db.run<LogMessageRow & { tenant: string }>(RECORD_LOGS, [
    JSON.stringify(reports.map((report, ordinal) => ({ ...report, ordinal }))),
  ])
  return rows.map((row) => ({ ...toLogMessage(row), ...markTenant(row.tenant) }))
}

const READ_LOGS: Statement = {
  name: 'read_logs',
  text: `
select seq, attempt, at, level, text, "isLast" from (
  select l.seq::float8 as seq, l.attempt, l.at, l.level, l.text, sum(150 + octet_length(l.text)) over (order by l.seq) as bytes,
    lead(false, 1, true) over (order by l.seq) as "isLast"
  from (
    select * from taskwire.logs where task_id = $1::text::uuid and tenant = $2 and seq > $3::bigint order by seq limit $4::integer + 1
  ) l
) page where bytes <= $5::integer order by seq limit $4::integer`,
}

/**
 * The lines after `seq`, oldest first, at most `limit` and what fits into a page. `next` is the next page's `after`, or
 * null.
 */
export async function readLogs(
  { tenant }: Principal,
  db: Database,
  id: TaskId,
  after: number,
  limit: number,
): Promise<{ items: LogLine[]; next: number | null }> {
  const rows = await db.run<LogRow & { isLast: boolean }>(READ_LOGS, [id, tenant, after, limit, MAX_PAGE_BYTES])
  const last = rows.at(-1)
  return { items: rows.map(toLogLine), next: last?.isLast === false ? last.seq : null }
}

const READ_LATEST_LOGS: Statement = {
  name: 'read_latest_logs',
  text: `
select t.id as "taskId", t.status, t.version, l.seq::float8 as seq, l.attempt, l.at, l.level, l.text
from taskwire.logs l join taskwire.tasks t on t.id = any(array[l.task_id])
where l.task_id = $1::text::uuid and l.tenant = $2 order by l.seq desc limit $3::integer`,
}

/** The latest lines as messages, oldest first, at most `limit`. */
export async function readLatestLogs(
  { tenant }: Principal,
  db: Database,
  id: TaskId,
  limit: number,
): Promise<LogMessage[]> {
  const rows = await db.run<LogMessageRow>(READ_LATEST_LOGS, [id, tenant, limit])
  return rows.map(toLogMessage).reverse()
}

function toLogLine({ seq, attempt, at, level, text }: LogRow): LogLine {
  return { seq, attempt, at: at.toISOString(), level, text }
}

function toLogMessage(row: LogMessageRow): LogMessage {
  return { type: 'log', taskId: row.taskId, status: row.status, version: row.version, line: toLogLine(row) }
}
