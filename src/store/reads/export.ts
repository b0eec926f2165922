/**
 * All tasks of a filter as lines of a file, page by page in the order of their ids. PostgreSQL writes the lines, so a
 * row never becomes an object and costs this process a few bytes. A page is limited by the tasks examined, not by those
 * found: a rare filter causes no long statement, and the walk along the ids is the only possible plan. A page also has
 * a budget in bytes: it ends before the row that would exceed it, and a single row larger than the budget is read in
 * slices.
 */
import type { Principal } from '../../access/principal.js'
import type { Database, Statement } from '../../db/database.js'
import type { TaskFilter } from '../../protocol/filter.js'
import type { TaskId } from '../../protocol/task.js'
import { boundedTime, shownFailure, shownJson, shownTags, shownTaskSlot } from '../stored-values.js'
import { afterFilter, filterParameters, FITS } from './filter-sql.js'

export type ExportFormat = 'csv' | 'ndjson'

export interface ExportPage {
  lines: string | null
  rows: number
  /** CSV only: number of cells that are too long for a spreadsheet. */
  longCells: number
  /** A row larger than the budget. It is the page's only row; read its line with `exportSlice`. */
  large: LargeRow | null
  /** The id of the last task examined, whether or not it matched. */
  lastId: TaskId | null
  /** Number of tasks examined. */
  walked: number
  /** Whether this is the last page. */
  isLast: boolean
}

export interface LargeRow {
  id: TaskId
  /** The length of its line, in characters. */
  length: number
  /** Changes whenever the row does. */
  state: string
}

/** Excel shows this many UTF-16 units of a cell and drops the rest. */
export const MAX_CELL_LENGTH = 32_767
/** U+FEFF, by which Excel recognizes UTF-8. */
export const BYTE_ORDER_MARK = '\uFEFF'

/** The first line of a CSV file. */
export const CSV_HEADING =
  'id,title,type,status,attempt,priority,queue,tags,createdAt,startedAt,finishedAt,failure,payload,result\r\n'

/** `2026-01-31T12:00:00.000Z` */
const instant = (column: string) =>
  `to_char(${boundedTime(column)} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

/**
 * Characters that spreadsheets skip before a formula, or treat as the end of another cell: blanks and invisible
 * characters, quotes, separators.
 */
const PASSED_OVER =
  '\\u0001-\\u0020\\u007F-\\u00A0\\u00AD\\u034F\\u061C\\u115F\\u1160\\u1680\\u17B4\\u17B5\\u180B-\\u180F\\u2000-\\u200F\\u2028-\\u202F\\u205F-\\u206F\\u2800\\u2E00-\\u2E2E\\u2E30-\\u2E7F\\u3000\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\uFFF0-\\uFFFB' +
  `"''\`\\u00B4\\u00AB\\u00BB\\u2018-\\u201F\\u2039\\u203A\\uFF02\\uFF07,;:|\\u060C\\u061B\\u3001\\uFE50\\uFE54\\uFE55\\uFF0C\\uFF1A\\uFF1B\\uFF5C\\uFF64`
/** Including the full-width and small forms, and the minus sign. */
const FORMULA_SIGNS = '-=+@\\u2212\\uFE62\\uFE63\\uFE66\\uFE6B\\uFF0B\\uFF0D\\uFF1D\\uFF20'

/**
 * SQL that tells whether a spreadsheet might run the text as a formula. A tab or line break at the start is enough, and
 * so are two hundred skipped characters: a large text is not searched for what follows them.
 * @see https://owasp.org/www-community/attacks/CSV_Injection
 */
export const looksLikeFormula = (text: string) =>
  `(${mayBeFormula(text)} and left(${text}, 200) ~ '^([\\t\\r\\n]|[${PASSED_OVER}]*[${FORMULA_SIGNS}]|[${PASSED_OVER}]{200})')`

/** Nearly every cell begins with a letter, a digit or a brace, and then the long pattern need not be evaluated. */
const mayBeFormula = (text: string) =>
  `not (ascii(${text}) between 97 and 123 or ascii(${text}) between 48 and 57 or ascii(${text}) between 65 and 90)`

/** The text, after an apostrophe if it looks like a formula. */
const guarded = (text: string) => `(case when ${looksLikeFormula(text)} then '''' else '' end || (${text}))`

/** A text as a quoted cell (RFC 4180). */
const cell = (text: string) => `coalesce('"' || replace(${guarded(text)}, '"', '""') || '"', '')`

/**
 * Counts UTF-16 units: two for a character beyond the basic multilingual plane. Those are only counted where they
 * decide.
 */
const isLongCell = (
  text: string,
) => `(case when char_length(${text}) > ${MAX_CELL_LENGTH} then 1 when coalesce(char_length(${text}), 0) * 2 <= ${MAX_CELL_LENGTH} then 0
  else (char_length(regexp_replace(${text}, '[\\U00010000-\\U0010FFFF]', '..', 'g')) > ${MAX_CELL_LENGTH})::integer end)`

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
  cell('c.payload'),
  cell('c.result'),
].join(` || ',' || `)

const JSON_LINE = `json_build_object('id', t.id, 'title', t.title, 'type', t.type, 'status', t.status, 'version', t.version, 'attempt', t.attempt,
  'maxAttempts', t.max_attempts, 'queue', t.queue, 'priority', t.priority, 'tags', ${shownTags('t.tags')}, 'payload', ${shownJson('c.payload')}::json,
  'result', ${shownJson('c.result')}::json, 'failure', ${shownFailure('t.failure', 't.attempt')}, 'runAt', ${instant('t.run_at')}, 'expiresAt', ${instant('t.expires_at')}, 'createdAt', ${instant('t.created_at')},
  'startedAt', ${instant('t.started_at')}, 'finishedAt', ${instant('t.finished_at')}, 'uniqueKey', t.unique_key, 'parentId', t.parent_id,
  'batchId', t.batch_id, 'callbackUrl', t.callback_url, 'concurrencyKey', t.concurrency_key, 'sequenceKey', t.sequence_key,
  'onFailure', case when t.halts then 'halt' when not t.halts then 'skip' end, 'cost', coalesce(t.cost, 1), 'schedule', ${shownTaskSlot('t.schedule')})::text`

/** Only a row with a longer line can have a cell that is too long. */
const COUNT_LONG_CELLS = `case when octet_length(line) > ${MAX_CELL_LENGTH} then ${isLongCell('c.payload')} + ${isLongCell('c.result')} else 0 end`

/**
 * `offset 0` keeps the planner from copying an expression to each of its uses, which would write a large row several
 * times.
 */
const made = (line: string) =>
  `cross join lateral (select t.payload::text as payload, t.result::text as result offset 0) c cross join lateral (select ${line} as line offset 0) l`
/** A page of large rows takes long on a busy server. */
const DEADLINE_MS = 120_000

function exportText(line: string, longCells: string): string {
  return `
with walked as materialized (
  select t.id from taskwire.tasks t where t.id > coalesce(${afterFilter(0)}::text, '00000000-0000-0000-0000-000000000000')::uuid order by t.id limit ${afterFilter(1)}::integer
), page as materialized (
  select t.id, line, ${longCells} as long_cells, sum(octet_length(line)) over (order by t.id) as bytes_so_far, t.version || ' ' || t.xmin as state
  from walked w join taskwire.tasks t on t.id = any(array[w.id]) ${made(line)} where ${FITS}
), first_beyond as (
  select id, char_length(line) as length, state, long_cells from page where bytes_so_far > ${afterFilter(2)}::bigint order by id limit 1
), large as (
  select b.* from first_beyond b where b.id = (select id from page order by id limit 1)
), taken as (
  select id from walked where not exists (select from first_beyond) or id < (select id from first_beyond) or id = (select id from large)
)
select string_agg(line, '' order by id) as lines, count(*)::integer + (select count(*)::integer from large) as rows,
  coalesce(sum(long_cells), 0)::integer + coalesce((select long_cells from large), 0) as "longCells",
  (select json_build_object('id', id, 'length', length, 'state', state) from large) as large,
  (select max(id::text) from taken) as "lastId", (select count(*)::integer from taken) as walked,
  (select count(*) from taken) = (select count(*) from walked) and (select count(*) from walked) < ${afterFilter(1)}::integer as "isLast"
from page where bytes_so_far <= ${afterFilter(2)}::bigint`
}

const CSV_ROW = `${CSV_LINE} || E'\\r\\n'`
const JSON_ROW = `${JSON_LINE} || E'\\n'`

const EXPORT_PAGE: Record<ExportFormat, Statement> = {
  csv: { name: 'export_csv_page', deadlineMs: DEADLINE_MS, text: exportText(CSV_ROW, COUNT_LONG_CELLS) },
  ndjson: { name: 'export_ndjson_page', deadlineMs: DEADLINE_MS, text: exportText(JSON_ROW, '0') },
}

const sliceText = (line: string) => `
select substring(line from $3::integer for $4::integer) as slice
from taskwire.tasks t ${made(line)}
where t.id = any(array[$1::text::uuid]) and t.tenant = $5 and t.version || ' ' || t.xmin = $2`

const EXPORT_SLICE: Record<ExportFormat, Statement> = {
  csv: { name: 'export_csv_slice', deadlineMs: DEADLINE_MS, text: sliceText(CSV_ROW) },
  ndjson: { name: 'export_ndjson_slice', deadlineMs: DEADLINE_MS, text: sliceText(JSON_ROW) },
}

/**
 * Estimates as the planner does: the rows per page as last analyzed, times the current pages. A table that was never
 * analyzed is small enough to count.
 */
const READ_SCOPE: Statement = {
  name: 'read_export_scope',
  text: `
select coalesce($1::text::timestamptz, now())::timestamptz(3) as until,
  ceil(case when c.relpages > 0 and c.reltuples > 0
    then c.reltuples * (pg_relation_size(c.oid) / current_setting('block_size')::int) / c.relpages
    else (select count(*) from taskwire.tasks) end)::float8 as "estimatedTasks"
from pg_class c where c.oid = 'taskwire.tasks'::regclass`,
}

/**
 * The upper bound of the creation time, if the filter has none, and the estimated number of all tasks. Counting them
 * would read a large table.
 */
export async function readExportScope(
  db: Database,
  { createdBefore }: TaskFilter,
): Promise<{ until: string; estimatedTasks: number }> {
  const [row] = await db.run<{ until: Date; estimatedTasks: number }>(READ_SCOPE, [createdBefore ?? null])
  if (row === undefined) throw new Error('PostgreSQL gave no time')
  return { until: row.until.toISOString(), estimatedTasks: row.estimatedTasks }
}

/**
 * @param limit how many tasks are examined
 * @param maxBytes of all lines; a single row that is larger is a page of its own
 */
export async function exportPage(
  principal: Principal,
  db: Database,
  filter: TaskFilter,
  {
    format,
    afterId,
    limit,
    maxBytes,
  }: { format: ExportFormat; afterId: TaskId | null; limit: number; maxBytes: number },
): Promise<ExportPage> {
  const [page] = await db.run<ExportPage>(EXPORT_PAGE[format], [
    ...filterParameters(principal, filter),
    afterId,
    limit,
    maxBytes,
  ])
  if (page === undefined) throw new Error('PostgreSQL gave no page')
  return page
}

/**
 * `count` characters of a line, starting at `from` (0 is the first).
 * @throws Error when the task has changed since its page was read, because the slices would not fit together
 */
export async function exportSlice(
  { tenant }: Principal,
  db: Database,
  { id, state }: LargeRow,
  format: ExportFormat,
  from: number,
  count: number,
): Promise<string> {
  const [row] = await db.run<{ slice: string }>(EXPORT_SLICE[format], [id, state, from + 1, count, tenant])
  if (row === undefined)
    throw new Error(`the task ${id} changed while its row was being written; trying the export again`)
  return row.slice
}
