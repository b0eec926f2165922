/**
 * Pages of tasks, newest first. For any filter and any table size, a page reads a bounded number of rows.
 *
 * 1. The walk: the index that holds the fewest candidates (see `list-walks.ts`). When several would serve, each reports
 *   how far back its first 1,000 candidates reach; the one that reaches furthest is the sparsest.
 * 2. Steps along the walk, each a short statement, until enough tasks match, the walk ends, or `maxLooks` candidates
 *   were examined. In the last case the page is short, and the next one continues from there.
 * 3. The rows, up to a number of bytes. The ids are found first, so that memory never holds rows that are not sent.
 *
 * With a range of creation times, the order is that of the times by PostgreSQL's clock, because ids only approximate
 * it. The walk is then the one over the times, or all of a small one.
 *
 * `tasks` has no index on status, because status changes (see `db/schema.ts`). A rare status is found where only such
 * tasks have a row: a delivery, a lease, a partial index of the history.
 */
import type { Principal } from '../../access/principal.js'
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Database, Statement } from '../../db/database.js'
import { rewriteInstant } from '../../db/instant.js'
import { isOrderedByTime, type TaskFilter } from '../../protocol/filter.js'
import type { Status } from '../../protocol/status.js'
import type { TaskId, TaskSummary } from '../../protocol/task.js'
import { MAX_PAGE_BYTES, SUMMARY_COLUMNS, toSummary, type SummaryRow } from '../rows.js'
import { columnsToFit, FITS, further, GIVEN, parametersOf, type ListPosition } from './filter-sql.js'
import { ALL, BEFORE_ID, CREATED, IS_BEHIND, LAST_ID, walksOf, type Walk } from './list-walks.js'

export type { ListPosition } from './filter-sql.js'

/** Number of candidates that show how dense a walk is. */
const PROBE = 1_000
/** Most candidates that one statement examines: some 10 ms. */
const MAX_STEP = 5_000
/** Most candidates that a page examines. */
const MAX_LOOKS = 100_000

export interface FindOptions {
  limit: number
  /** Only tasks behind this one. Default: from the newest. */
  position?: ListPosition | undefined
  /** Most candidates to examine. Default 100,000. */
  maxLooks?: number
}

interface FoundTask extends ListPosition {
  status: Status
  version: number
  /** Changes whenever the row is written. */
  stamp: string
  createdAt: string
}

export interface FoundTasks {
  found: FoundTask[]
  /** Where to continue; null when there is nothing behind. */
  next: ListPosition | null
}

/** The matching tasks, without their rows. */
export async function findTasks(
  principal: Principal,
  db: Database,
  filter: TaskFilter,
  { limit, position, maxLooks = MAX_LOOKS }: FindOptions,
): Promise<FoundTasks> {
  const { walk, firstStep } = await chooseWalk(principal, db, filter, position, limit)
  const statement: Statement = { name: `list_by_${walk.name}`, forceCustomPlan: true, text: stepText(walk) }
  const found: FoundTask[] = []
  let at = position
  for (let step = firstStep, looks = 0; ; step = Math.min(step * 4, MAX_STEP, maxLooks - looks)) {
    const [row] = await db.run<StepRow>(statement, [...parametersOf(principal, filter, at), step, limit - found.length])
    found.push(...(row?.found ?? []).map(rewriteTime))
    looks += row?.looks ?? 0
    const last = found.at(-1)
    if (found.length >= limit && last) return { found, next: last }
    if (row?.last == null || row.looks < step) return { found, next: null }
    at = rewriteTime(row.last)
    if (looks >= maxLooks) return { found, next: at }
  }
}

interface StepRow {
  found: FoundTask[] | null
  looks: number
  last: ListPosition | null
}

/** As shown in the page and its cursor: a time in JSON has the zone of the session, and may be infinite. */
function rewriteTime<Position extends ListPosition>(position: Position): Position {
  return position.createdAt === undefined ? position : { ...position, createdAt: rewriteInstant(position.createdAt) }
}

/**
 * The filter is applied to a materialized CTE. Next to the join, each of its conditions might tempt the planner to
 * begin with it.
 */
function stepText(walk: Walk): string {
  const isByTime = walk.order === 'created'
  return `
with ${GIVEN}, walked as materialized (${walk.text(BEFORE_ID)} limit ${further(0)}::integer), seen as materialized (
  select ${columnsToFit('status', 'created_at', 'version')}, t.xmin::text as stamp
  from walked w join taskwire.tasks t on t.id = any(array[w.id])
), page as (
  select t.id, t.status, t.created_at, t.version, t.stamp from seen t where ${FITS}${isByTime ? ` and ${IS_BEHIND}` : ''} order by ${isByTime ? 't.created_at desc, ' : ''}t.id desc limit ${further(1)}::integer
)
select (select json_agg(json_build_object('id', id, 'status', status, 'createdAt', created_at, 'version', version, 'stamp', stamp) order by ${isByTime ? 'created_at desc, ' : ''}id desc) from page) as found,
  (select count(*)::integer from walked) as looks,
  (select json_build_object('id', w.id${isByTime ? `, 'createdAt', w.created_at` : ''}) from walked w order by ${isByTime ? 'w.created_at, ' : ''}w.id limit 1) as last`
}

/** The walk with the fewest candidates, as far as it can be determined cheaply. */
export async function chooseWalk(
  principal: Principal,
  db: Database,
  filter: TaskFilter,
  position: ListPosition | undefined,
  limit: number,
): Promise<{ walk: Walk; firstStep: number }> {
  const walks = walksOf(filter)
  const firstStep = Math.min(limit, MAX_STEP)
  if (isOrderedByTime(filter)) {
    if (walks[0] === ALL) return { walk: CREATED, firstStep }
    const reach = await readReach(principal, db, filter, walks)
    const small = walks[reach.indexOf(null)]
    return small === undefined ? { walk: CREATED, firstStep } : { walk: wholeOf(small), firstStep: PROBE }
  }
  if (walks.length === 1) return { walk: walks[0], firstStep }
  const reach = await readReach(principal, db, filter, walks, position)
  const sparsest = walks.reduce((best, _, index) => ((reach[index] ?? '') < (reach[best] ?? '') ? index : best), 0)
  return { walk: walks[sparsest] ?? walks[0], firstStep }
}

/** All of a walk with fewer than `PROBE` candidates, in the order of their times. */
function wholeOf({ name, text }: Walk): Walk {
  const all = `select w.id, t.created_at from (${text(LAST_ID)} limit ${PROBE}) w join taskwire.tasks t on t.id = any(array[w.id])`
  return { name: `whole_${name}`, order: 'created', text: () => all }
}

/** How far back the first `PROBE` candidates of each walk reach; null when it has fewer. */
async function readReach(
  principal: Principal,
  db: Database,
  filter: TaskFilter,
  walks: readonly Walk[],
  position?: ListPosition,
): Promise<(TaskId | null)[]> {
  const columns = walks.map(
    ({ text }, index) =>
      `(select w.id::text from (${text(BEFORE_ID)} limit ${PROBE}) w offset ${PROBE - 1}) as "${index}"`,
  )
  const statement: Statement = {
    name: 'list_reach',
    forceCustomPlan: true,
    text: `with ${GIVEN} select ${columns.join(',\n  ')}`,
  }
  const [row] = await db.run<Record<number, TaskId | null>>(statement, parametersOf(principal, filter, position))
  return walks.map((_, index) => row?.[index] ?? null)
}

/** Fields that a list can have in addition to a task's summary. */
export type ListField = 'payload' | 'result'

export interface ListOptions extends FindOptions {
  fields?: readonly ListField[]
  /** Default 1 MiB. */
  maxBytes?: number
}

export interface ListedTasks {
  items: TaskSummary[]
  next: ListPosition | null
}

/** A page: at most `limit` tasks, fewer when they are large or rare. */
export async function listPage(
  principal: Principal,
  db: Database,
  filter: TaskFilter,
  { limit, fields = [], maxBytes = MAX_PAGE_BYTES, ...options }: ListOptions,
): Promise<ListedTasks> {
  // One more than requested shows whether there is a next page.
  const { found, next } = await findTasks(principal, db, filter, { ...options, limit: limit + 1 })
  const wanted = found.slice(0, limit)
  const rows = await readSummaries(
    principal,
    db,
    wanted.map(({ id }) => id),
    fields,
    maxBytes,
  )
  const lastRead = wanted.findIndex(({ id }) => id === rows.at(-1)?.id)
  // Continue behind the last row read or, if no found task was left out, behind the last task examined.
  const isCut = rows.length > 0 && lastRead < wanted.length - 1 && sizeOf(rows) >= maxBytes
  const stop = isCut ? wanted[lastRead] : found.length > limit ? wanted.at(-1) : next
  // A task may have changed status since it was found.
  const items = rows.filter(({ status }) => filter.status === undefined || status === filter.status).map(toSummary)
  return { items, next: stop ?? null }
}

/** The tasks of a filter, at most `limit`, without payload and result. */
export async function listTasks(
  principal: Principal,
  db: Database,
  { limit, beforeId, ...filter }: TaskFilter & { limit: number; beforeId?: TaskId },
): Promise<TaskSummary[]> {
  const { items } = await listPage(principal, db, filter, {
    limit,
    maxBytes: Number.MAX_SAFE_INTEGER,
    ...(beforeId && { position: { id: beforeId } }),
  })
  return items
}

interface SizedRow extends SummaryRow {
  /** Total bytes of this row and those before it. */
  bytes: string | number
}

const sizeOf = (rows: readonly SizedRow[]) => Number(rows.at(-1)?.bytes ?? 0)

/** Rows in the order of the ids, one by one until `maxBytes` are reached. Rows beyond that are not even unpacked. */
async function readSummaries(
  { tenant }: Principal,
  db: Database,
  ids: readonly TaskId[],
  fields: readonly ListField[],
  maxBytes: number,
): Promise<SizedRow[]> {
  if (ids.length === 0) return []
  const large = fields.map((field) => `coalesce(octet_length(t.${field}::text), 0)`)
  const size = [
    '1000',
    'octet_length(t.title)',
    `coalesce(octet_length(t.progress::text), 0)`,
    `coalesce(octet_length(t.failure::text), 0)`,
    ...large,
  ].join(' + ')
  const text = `
with recursive page as (
  select 0 as place, null::uuid as id, 0::bigint as bytes
  union all
  select p.place + 1, ($2::text::uuid[])[p.place + 1],
    p.bytes + coalesce((select ${size} from taskwire.tasks t where t.id = any(array[($2::text::uuid[])[p.place + 1]])), 0)
  from page p where p.place < cardinality($2::text::uuid[]) and p.bytes < $3::text::bigint
)
select ${SUMMARY_COLUMNS}${fields.map((field) => `, t.${field}`).join('')}, p.bytes::float8 as bytes
from page p join taskwire.tasks t on t.id = any(array[p.id]) where t.tenant = $1 order by p.place`
  return db.run<SizedRow>({ name: 'read_summaries', forceCustomPlan: true, text }, [
    tenant,
    toArrayLiteral(ids),
    String(maxBytes),
  ])
}
