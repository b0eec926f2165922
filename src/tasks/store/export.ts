/**
 * All tasks of a filter as lines of a file, page by page in the order of their ids. PostgreSQL writes the lines: a row that never
 * becomes an object costs this process a few bytes. A page is so many tasks looked at, not found: so a rare filter makes no long
 * statement, and the walk along the ids is the only plan there is.
 */
import type { Database, Statement } from '../../db/database.js'
import type { Status } from '../../protocol/status.js'
import type { TaskId } from '../../protocol/task.js'

export interface ExportFilter {
  status?: Status
  type?: string
  tag?: string
  /** ISO 8601. */
  createdAfter?: string
  createdBefore?: string
}

export type ExportFormat = 'csv' | 'ndjson'

export interface ExportPage {
  lines: string | null
  rows: number
  /** The last one looked at, whether it fits or not. */
  lastId: TaskId | null
  /** How many were looked at. */
  walked: number
}

/** The first line of a CSV file. */
export const CSV_HEADING = 'id,title,type,status,attempt,priority,queue,tags,createdAt,startedAt,finishedAt,failure,payload,result\r\n'

/** `2026-01-31T12:00:00.000Z` */
const instant = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

/**
 * A text as a cell, in quotes (RFC 4180). One that a spreadsheet would run as a formula begins with an apostrophe: also when
 * blanks come before, or the sign is a full-width one.
 * @see https://owasp.org/www-community/attacks/CSV_Injection
 */
const cell = (text: string) => `coalesce('"' || case when ${text} ~ '^([\\t\\r\\n]|\\s*[-=+@＝＋－＠])' then '''' else '' end || replace(${text}, '"', '""') || '"', '')`

const CSV_LINE = [
  't.id::text',
  cell('t.title'),
  't.type',
  't.status::text',
  't.attempt::text',
  't.priority::text',
  't.queue',
  cell(`array_to_string(t.tags, ' ')`),
  instant('t.created_at'),
  `coalesce(${instant('t.started_at')}, '')`,
  `coalesce(${instant('t.finished_at')}, '')`,
  cell(`t.failure->>'message'`),
  cell('t.payload::text'),
  cell('t.result::text'),
].join(` || ',' || `)

const JSON_LINE = `json_build_object('id', t.id, 'title', t.title, 'type', t.type, 'status', t.status, 'version', t.version, 'attempt', t.attempt,
  'maxAttempts', t.max_attempts, 'queue', t.queue, 'priority', t.priority, 'tags', t.tags, 'payload', t.payload, 'result', t.result,
  'failure', t.failure, 'runAt', ${instant('t.run_at')}, 'expiresAt', ${instant('t.expires_at')}, 'createdAt', ${instant('t.created_at')},
  'startedAt', ${instant('t.started_at')}, 'finishedAt', ${instant('t.finished_at')}, 'uniqueKey', t.unique_key, 'parentId', t.parent_id,
  'batchId', t.batch_id, 'callbackUrl', t.callback_url)::text`

const FITS = `t.tenant = $1 and ($2::text is null or t.status = $2::text::taskwire.task_status) and ($3::text is null or t.type = $3::text)
    and ($4::text is null or t.tags @> array[$4::text]) and ($5::text is null or t.created_at >= $5::text::timestamptz)
    and ($6::text is null or t.created_at < $6::text::timestamptz)`

function exportText(line: string, end: string): string {
  return `
with walked as materialized (
  select t.id from taskwire.tasks t where t.id > coalesce($7::text, '00000000-0000-0000-0000-000000000000')::uuid order by t.id limit $8::integer
), page as (
  select t.id, ${line} as line from walked w join taskwire.tasks t on t.id = any(array[w.id]) where ${FITS}
)
select (select string_agg(line || ${end}, '' order by id) from page) as lines, (select count(*)::integer from page) as rows,
  (select max(id::text) from walked) as "lastId", (select count(*)::integer from walked) as walked`
}

const EXPORT_PAGE: Record<ExportFormat, Statement> = {
  csv: { name: 'export_csv_page', text: exportText(CSV_LINE, `E'\\r\\n'`) },
  ndjson: { name: 'export_ndjson_page', text: exportText(JSON_LINE, `E'\\n'`) },
}

/** As the planner does: the rows of a page as last analyzed, times the pages of now. Before the first time the table is small enough to count. */
const READ_SCOPE: Statement = {
  name: 'read_export_scope',
  text: `
select coalesce($1::text::timestamptz, now())::timestamptz(3) as until,
  (case when c.relpages > 0 and c.reltuples > 0
    then c.reltuples * (pg_relation_size(c.oid) / current_setting('block_size')::int) / c.relpages
    else (select count(*) from taskwire.tasks) end)::float8 as "estimatedTasks"
from pg_class c where c.oid = 'taskwire.tasks'::regclass`,
}

/** Up to which moment tasks are exported when the filter does not say, and about how many tasks there are in all: to count them would read a large table. */
export async function readExportScope(db: Database, { createdBefore }: ExportFilter): Promise<{ until: string; estimatedTasks: number }> {
  const [row] = await db.run<{ until: Date; estimatedTasks: number }>(READ_SCOPE, [createdBefore ?? null])
  if (row === undefined) throw new Error('PostgreSQL gave no time')
  return { until: row.until.toISOString(), estimatedTasks: row.estimatedTasks }
}

function parametersOf(tenant: string, { status, type, tag, createdAfter, createdBefore }: ExportFilter): (string | null)[] {
  return [tenant, ...[status, type, tag, createdAfter, createdBefore].map((value) => value ?? null)]
}

/** @param limit how many tasks are looked at */
export async function exportPage(db: Database, tenant: string, filter: ExportFilter, format: ExportFormat, afterId: TaskId | null, limit: number): Promise<ExportPage> {
  const [page] = await db.run<ExportPage>(EXPORT_PAGE[format], [...parametersOf(tenant, filter), afterId, limit])
  return page ?? { lines: null, rows: 0, lastId: null, walked: 0 }
}
