/** What lists that are kept current read: the rows of tasks that may have changed, and how many tasks fit. */
import type { Database, Statement } from '../../db/database.js'
import type { TaskFilter } from '../../protocol/filter.js'
import { MAX_COUNTED, type ListCounts } from '../../protocol/list.js'
import { STATUSES, type Status } from '../../protocol/status.js'
import type { TaskId, TaskSummary } from '../../protocol/task.js'
import { SUMMARY_COLUMNS, toSummary, type SummaryRow } from '../rows.js'
import { columnsToFit, FITS, further, GIVEN, parametersOf } from './filter-sql.js'
import { DELIVERIES, ENDS, LAST_ID, LEASES, WALK_OF_STATUS, type Walk } from './list-walks.js'
import { chooseWalk } from './list.js'

/** `data` of a progress that is larger, in bytes, is left out of lists. */
const MAX_PROGRESS_BYTES = 4_096

export interface ListedRow {
  task: TaskSummary
  /** Another one whenever the row was written. */
  stamp: string
}

/** What rows show, besides progress. */
const ROW_COLUMNS = [
  ...['title', 'type', 'status', 'version', 'attempt', 'max_attempts', 'queue', 'priority', 'tags', 'failure', 'run_at', 'created_at', 'started_at'],
  ...['finished_at', 'expires_at', 'unique_key', 'parent_id', 'batch_id', 'callback_url'],
]

/** Behind a fence, as in `list.ts`: found by id, and then looked at. `xmin` is the transaction that wrote the row last. */
const READ_LIST_ROWS: Statement = {
  name: 'read_list_rows',
  forceCustomPlan: true,
  text: `
with ${GIVEN}, seen as materialized (
  select ${columnsToFit(...ROW_COLUMNS)}, t.xmin::text as stamp,
    case when jsonb_typeof(t.progress) = 'object' and octet_length(t.progress::text) > ${MAX_PROGRESS_BYTES} then t.progress - 'data' else t.progress end as progress
  from json_array_elements_text(${further(0)}::text::json) as i(id) join taskwire.tasks t on t.id = any(array[i.id::uuid])
)
select ${SUMMARY_COLUMNS}, t.stamp from seen t where ${FITS}`,
}

/** The rows of those of these tasks that fit, in no order, without payload and result. */
export async function readListRows(db: Database, tenant: string, filter: TaskFilter, ids: readonly TaskId[]): Promise<ListedRow[]> {
  const rows = await db.run<SummaryRow & { stamp: string }>(READ_LIST_ROWS, [...parametersOf(tenant, filter, undefined), JSON.stringify(ids)])
  return rows.map((row) => ({ task: toSummary(row), stamp: row.stamp }))
}

/** Where each status is counted when there are too many tasks to look at; undefined: of such tasks there may always be more. */
const COUNTED_ALONG: Readonly<Record<Status, Walk | undefined>> = { ...WALK_OF_STATUS, WAITING: DELIVERIES }
const statusesAlong = (walk: Walk | undefined) => STATUSES.filter((status) => COUNTED_ALONG[status] === walk)

/**
 * How many tasks fit, whatever their status. Each walk looks at `MAX_COUNTED` candidates at most. Where the newest of a filter are more than
 * that, tasks that have not ended are counted where only such have a row, and so are those that ended badly.
 */
export async function countTasks(db: Database, tenant: string, given: TaskFilter): Promise<ListCounts> {
  const filter = { ...given }
  delete filter.status
  const { walk } = await chooseWalk(db, tenant, filter, undefined, MAX_COUNTED)
  const newest = await countAlong(db, tenant, filter, walk)
  if (newest.isWhole) return { byStatus: newest.byStatus, more: [] }
  const places: { walk: Walk; statuses: readonly Status[]; of?: Status }[] = [
    { walk: DELIVERIES, statuses: statusesAlong(DELIVERIES) },
    { walk: LEASES, statuses: statusesAlong(LEASES) },
    ...statusesAlong(ENDS).map((of) => ({ walk: ENDS, statuses: [of], of })),
  ]
  const byNow = new Map(Object.entries(newest.byStatus) as [Status, number][])
  const more = statusesAlong(undefined)
  for (const { walk: place, statuses, of } of places) {
    const { byStatus, isWhole } = await countAlong(db, tenant, of === undefined ? filter : { ...filter, status: of }, place)
    for (const status of statuses) {
      const count = isWhole ? (byStatus[status] ?? 0) : Math.max(byStatus[status] ?? 0, newest.byStatus[status] ?? 0)
      byNow.set(status, count)
      if (!isWhole) more.push(status)
    }
  }
  return { byStatus: Object.fromEntries([...byNow].filter(([, count]) => count > 0)), more }
}

interface Counted {
  byStatus: ListCounts['byStatus']
  /** All candidates were looked at. */
  isWhole: boolean
}

async function countAlong(db: Database, tenant: string, filter: TaskFilter, walk: Walk): Promise<Counted> {
  const text = `
with ${GIVEN}, walked as materialized (${walk.text(LAST_ID)} limit ${MAX_COUNTED}), seen as materialized (
  select ${columnsToFit('status')}
  from walked w join taskwire.tasks t on t.id = any(array[w.id])
), counted as (
  select t.status, count(*)::integer as count from seen t where ${FITS} group by t.status
)
select (select json_object_agg(status, count) from counted) as "byStatus", (select count(*)::integer from walked) as looks`
  const [row] = await db.run<{ byStatus: ListCounts['byStatus'] | null; looks: number }>(
    { name: `count_by_${walk.name}`, forceCustomPlan: true, text },
    parametersOf(tenant, filter, undefined),
  )
  return { byStatus: row?.byStatus ?? {}, isWhole: (row?.looks ?? 0) < MAX_COUNTED }
}
