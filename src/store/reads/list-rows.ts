/** Reads for lists that are kept current: the rows of tasks that may have changed, and the number of matching tasks. */
import type { Principal } from '../../access/principal.js'
import type { Database, Statement } from '../../db/database.js'
import type { TaskFilter } from '../../protocol/filter.js'
import { MAX_COUNTED, type ListCounts } from '../../protocol/list.js'
import { STATUSES, type Status } from '../../protocol/status.js'
import type { TaskId, TaskSummary } from '../../protocol/task.js'
import { SUMMARY_COLUMNS, toSummary, type SummaryRow } from '../rows.js'
import { columnsToFit, FITS, further, GIVEN, parametersOf } from './filter-sql.js'
import { DELIVERIES, ENDS, LAST_ID, LEASES, WALK_OF_STATUS, type Walk } from './list-walks.js'
import { chooseWalk } from './list.js'

/** Lists leave out the `data` of a larger progress. In bytes. */
const MAX_PROGRESS_BYTES = 4_096

export interface ListedRow {
  task: TaskSummary
  /** Changes whenever the row is written. */
  stamp: string
}

/** The columns that rows show, besides progress. */
const ROW_COLUMNS = [
  ...[
    'title',
    'type',
    'status',
    'version',
    'attempt',
    'max_attempts',
    'queue',
    'priority',
    'tags',
    'failure',
    'run_at',
    'created_at',
    'started_at',
  ],
  ...[
    'finished_at',
    'expires_at',
    'unique_key',
    'parent_id',
    'batch_id',
    'callback_url',
    'concurrency_key',
    'sequence_key',
    'halts',
    'cost',
    'schedule',
  ],
]

/**
 * Materialized as in `list.ts`: rows are found by id and filtered afterwards. `xmin` is the transaction that last wrote
 * the row.
 */
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

/** The rows of these tasks that match the filter, in no order, without payload and result. */
export async function readListRows(
  principal: Principal,
  db: Database,
  filter: TaskFilter,
  ids: readonly TaskId[],
): Promise<ListedRow[]> {
  const rows = await db.run<SummaryRow & { stamp: string }>(READ_LIST_ROWS, [
    ...parametersOf(principal, filter, undefined),
    JSON.stringify(ids),
  ])
  return rows.map((row) => ({ task: toSummary(row), stamp: row.stamp }))
}

/** Where each status is counted if there are too many tasks to examine; undefined: there may always be more such tasks. */
const COUNTED_ALONG: Readonly<Record<Status, Walk | undefined>> = { ...WALK_OF_STATUS, WAITING: DELIVERIES }
const statusesAlong = (walk: Walk | undefined) => STATUSES.filter((status) => COUNTED_ALONG[status] === walk)

/**
 * Number of matching tasks by status. Each walk examines at most `MAX_COUNTED` candidates. When a filter's newest
 * candidates are more than that, unfinished tasks are counted where only they have a row, and so are those that ended
 * badly.
 */
export async function countTasks(principal: Principal, db: Database, given: TaskFilter): Promise<ListCounts> {
  const filter = { ...given }
  delete filter.status
  const { walk } = await chooseWalk(principal, db, filter, undefined, MAX_COUNTED)
  const newest = await countAlong(principal, db, filter, walk)
  if (newest.isWhole) return { byStatus: newest.byStatus, more: [] }
  const places: { walk: Walk; statuses: readonly Status[]; of?: Status }[] = [
    { walk: DELIVERIES, statuses: statusesAlong(DELIVERIES) },
    { walk: LEASES, statuses: statusesAlong(LEASES) },
    ...statusesAlong(ENDS).map((of) => ({ walk: ENDS, statuses: [of], of })),
  ]
  const byNow = new Map(Object.entries(newest.byStatus) as [Status, number][])
  const more = statusesAlong(undefined)
  for (const { walk: place, statuses, of } of places) {
    const { byStatus, isWhole } = await countAlong(
      principal,
      db,
      of === undefined ? filter : { ...filter, status: of },
      place,
    )
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
  /** Whether all candidates were examined. */
  isWhole: boolean
}

async function countAlong(principal: Principal, db: Database, filter: TaskFilter, walk: Walk): Promise<Counted> {
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
    parametersOf(principal, filter, undefined),
  )
  return { byStatus: row?.byStatus ?? {}, isWhole: (row?.looks ?? 0) < MAX_COUNTED }
}
