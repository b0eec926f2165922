/**
 * Pages of tasks, newest first. Whatever is asked for, and however large the tables are, a page costs a bounded number of rows.
 *
 * 1. The walk: the index that holds the fewest candidates (see `list-walks.ts`). Where several could serve, each says how far back
 *    its first 1,000 reach; the one that reaches furthest is the sparsest.
 * 2. Steps along the walk, each a short statement, until enough tasks fit, the walk ends, or `maxLooks` candidates were looked at. In
 *    the last case the page is short, and the next one goes on from there.
 * 3. The rows, up to so many bytes: first those of the ids that were found, so that memory never holds what is not sent.
 *
 * With a range of creation times the order is that of the times, by PostgreSQL's clock, because ids are only near it. The walk is that
 * over the times, or the whole of a small one.
 *
 * `tasks` has no index on status, because status changes (see `db/schema.ts`). A rare status is found where only such tasks
 * have a row: a delivery, a lease, a partial index of the history.
 */
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

/** How many candidates tell how dense a walk is. */
const PROBE = 1_000
/** Candidates that one statement looks at, at most: some 10 ms. */
const MAX_STEP = 5_000
/** Candidates that a page looks at, at most. */
const MAX_LOOKS = 100_000

export interface FindOptions {
  limit: number
  /** Only tasks behind this one. From the newest when left out. */
  position?: ListPosition | undefined
  /** Default 100,000. */
  maxLooks?: number
}

export interface FoundTask extends ListPosition {
  status: Status
  version: number
  /** Another one whenever the row was written. */
  stamp: string
  createdAt: string
}

export interface FoundTasks {
  found: FoundTask[]
  /** Where to go on; null: there is nothing behind. */
  next: ListPosition | null
}

/** The tasks that fit, without their rows. */
export async function findTasks(db: Database, tenant: string, filter: TaskFilter, { limit, position, maxLooks = MAX_LOOKS }: FindOptions): Promise<FoundTasks> {
  const { walk, firstStep } = await chooseWalk(db, tenant, filter, position, limit)
  const statement: Statement = { name: `list_by_${walk.name}`, forceCustomPlan: true, text: stepText(walk) }
  const found: FoundTask[] = []
  let at = position
  for (let step = firstStep, looks = 0; ; step = Math.min(step * 4, MAX_STEP, maxLooks - looks)) {
    const [row] = await db.run<StepRow>(statement, [...parametersOf(tenant, filter, at), step, limit - found.length])
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

/** As the page and its cursor say it: a time in JSON has the zone of the session, and may be infinite. */
function rewriteTime<Position extends ListPosition>(position: Position): Position {
  return position.createdAt === undefined ? position : { ...position, createdAt: rewriteInstant(position.createdAt) }
}

/** The filter is looked at behind a fence (`materialized`): beside the join, each of its conditions would tempt the planner to begin with it. */
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

/** The walk with the fewest candidates, as far as that can be told cheaply. */
export async function chooseWalk(
  db: Database,
  tenant: string,
  filter: TaskFilter,
  position: ListPosition | undefined,
  limit: number,
): Promise<{ walk: Walk; firstStep: number }> {
  const walks = walksOf(filter)
  const firstStep = Math.min(limit, MAX_STEP)
  if (isOrderedByTime(filter)) {
    if (walks[0] === ALL) return { walk: CREATED, firstStep }
    const reach = await readReach(db, tenant, filter, walks)
    const small = walks[reach.indexOf(null)]
    return small === undefined ? { walk: CREATED, firstStep } : { walk: wholeOf(small), firstStep: PROBE }
  }
  if (walks.length === 1) return { walk: walks[0], firstStep }
  const reach = await readReach(db, tenant, filter, walks, position)
  const sparsest = walks.reduce((best, _, index) => ((reach[index] ?? '') < (reach[best] ?? '') ? index : best), 0)
  return { walk: walks[sparsest] ?? walks[0], firstStep }
}

/** The whole of a walk with fewer than `PROBE` candidates, in the order of their times. */
function wholeOf({ name, text }: Walk): Walk {
  const all = `select w.id, t.created_at from (${text(LAST_ID)} limit ${PROBE}) w join taskwire.tasks t on t.id = any(array[w.id])`
  return { name: `whole_${name}`, order: 'created', text: () => all }
}

/** How far back the first `PROBE` candidates of each walk go; null: it has fewer. */
async function readReach(db: Database, tenant: string, filter: TaskFilter, walks: readonly Walk[], position?: ListPosition): Promise<(TaskId | null)[]> {
  const columns = walks.map(({ text }, index) => `(select w.id::text from (${text(BEFORE_ID)} limit ${PROBE}) w offset ${PROBE - 1}) as "${index}"`)
  const statement: Statement = { name: 'list_reach', forceCustomPlan: true, text: `with ${GIVEN} select ${columns.join(',\n  ')}` }
  const [row] = await db.run<Record<number, TaskId | null>>(statement, parametersOf(tenant, filter, position))
  return walks.map((_, index) => row?.[index] ?? null)
}

/** What a list carries besides the summary of a task. */
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

/** A page: at most `limit` tasks, and fewer when they are large or rare. */
export async function listPage(db: Database, tenant: string, filter: TaskFilter, { limit, fields = [], maxBytes = MAX_PAGE_BYTES, ...options }: ListOptions): Promise<ListedTasks> {
  // One more than asked for tells whether there is a next page.
  const { found, next } = await findTasks(db, tenant, filter, { ...options, limit: limit + 1 })
  const wanted = found.slice(0, limit)
  const rows = await readSummaries(db, tenant, wanted.map(({ id }) => id), fields, maxBytes)
  const lastRead = wanted.findIndex(({ id }) => id === rows.at(-1)?.id)
  // Behind the last row that was read, unless none of what was found is left out: then behind all that were looked at.
  const isCut = rows.length > 0 && lastRead < wanted.length - 1 && sizeOf(rows) >= maxBytes
  const stop = isCut ? wanted[lastRead] : found.length > limit ? wanted.at(-1) : next
  // A task may have moved on since it was found.
  const items = rows.filter(({ status }) => filter.status === undefined || status === filter.status).map(toSummary)
  return { items, next: stop ?? null }
}

/** The tasks of a filter, at most `limit`, without payload and result. */
export async function listTasks(db: Database, tenant: string, { limit, beforeId, ...filter }: TaskFilter & { limit: number; beforeId?: TaskId }): Promise<TaskSummary[]> {
  const { items } = await listPage(db, tenant, filter, { limit, maxBytes: Number.MAX_SAFE_INTEGER, ...(beforeId && { position: { id: beforeId } }) })
  return items
}

interface SizedRow extends SummaryRow {
  /** Of this row and those before it, in bytes. */
  bytes: string | number
}

const sizeOf = (rows: readonly SizedRow[]) => Number(rows.at(-1)?.bytes ?? 0)

/** Rows in the order of the ids, one by one until `maxBytes` are reached: what comes behind is not even unpacked. */
async function readSummaries(db: Database, tenant: string, ids: readonly TaskId[], fields: readonly ListField[], maxBytes: number): Promise<SizedRow[]> {
  if (ids.length === 0) return []
  const large = fields.map((field) => `coalesce(octet_length(t.${field}::text), 0)`)
  const size = ['1000', 'octet_length(t.title)', `coalesce(octet_length(t.progress::text), 0)`, `coalesce(octet_length(t.failure::text), 0)`, ...large].join(' + ')
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
  return db.run<SizedRow>({ name: 'read_summaries', forceCustomPlan: true, text }, [tenant, toArrayLiteral(ids), String(maxBytes)])
}
