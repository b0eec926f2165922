/**
 * The orders in which a list can walk over tasks, newest first: each uses an index that holds only candidates for a
 * filter.
 *
 * A walk reads its index backward and stops after a step, so it costs one step, however large the tables are. Each is
 * written so that no other index can serve it. A column compared with `=` is dropped from the sort order, and the
 * planner might then walk all tasks for a type that it thinks is frequent. Compared with `>=` and `<=`, it stays in the
 * order, which only one index has. Columns that are not in the index, above all the tenant, are checked afterwards: as
 * a condition they would promise so few rows that reading and sorting all of them would look cheap.
 */
import type { FilterName, TaskFilter } from '../../protocol/filter.js'
import type { Status } from '../../protocol/status.js'
import { FIRST_INSTANT, LAST_INSTANT } from '../../protocol/task.js'
import { POSITION_ID, POSITION_TIME, valueOf } from './filter-sql.js'

export interface Walk {
  readonly name: string
  /** `select id … order by …` of the tasks before this id (an expression), without a limit. */
  text(before: string): string
  /** Newest first, by id or by time of creation. */
  readonly order: 'id' | 'created'
}

/** The greatest id. */
export const LAST_ID = `'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid`
export const BEFORE_ID = `coalesce(${POSITION_ID}::uuid, ${LAST_ID})`
/**
 * A position shows times beyond what RFC 3339 can express as the first or last one, so these stand for everything
 * beyond them.
 */
const BEFORE_TIME = `case ${POSITION_TIME} when '${LAST_INSTANT}' then 'infinity' when '${FIRST_INSTANT}' then '-infinity' else coalesce(${POSITION_TIME}::timestamptz, 'infinity') end`
/** In the order by time: only tasks behind the position. */
export const IS_BEHIND = `(t.created_at, t.id) < (${BEFORE_TIME}, ${BEFORE_ID})`
const within = (column: string, value: string) => `${column} >= ${value} and ${column} <= ${value}`

/** A walk over one of the indexes of `tasks` on (…, column, id). */
function walkTasks(name: string, column: string, value: string, more = ''): Walk {
  const where = `${within(`t.${column}`, value)}${more}`
  return {
    name,
    order: 'id',
    text: (before) =>
      `select t.id from taskwire.tasks t where ${where} and t.id < ${before} order by t.${column} desc, t.id desc`,
  }
}

function walkOthers(name: string, table: string, where = ''): Walk {
  return {
    name,
    order: 'id',
    text: (before) =>
      `select o.task_id as id from taskwire.${table} o where ${where}o.task_id < ${before} order by o.task_id desc`,
  }
}

export const ALL: Walk = {
  name: 'all',
  order: 'id',
  text: (before) => `select t.id from taskwire.tasks t where t.id < ${before} order by t.id desc`,
}
const BATCH = walkTasks('batch', 'batch_id', `${valueOf('batch')}::uuid`)
const PARENT = walkTasks('parent', 'parent_id', `${valueOf('parent')}::uuid`)
const TYPE = walkTasks('type', 'type', valueOf('type'))
const QUEUE = walkTasks('queue', 'queue', valueOf('queue'), ` and t.queue <> 'default'`)
const TAG = walkOthers('tag', 'task_tags', `o.tenant = $1 and o.tag = ${valueOf('tag')} and `)
/** Tasks that wait for a worker have a delivery; running tasks have a lease. */
export const DELIVERIES = walkOthers('deliveries', 'deliveries')
export const LEASES = walkOthers('leases', 'leases')
/** Tasks that ended badly are in a partial index of the history, because a final status never changes. */
export const ENDS: Walk = {
  name: 'ends',
  order: 'id',
  text: (
    before,
  ) => `select o.task_id as id from taskwire.transitions o where o.tenant = $1 and ${within('o.status', `${valueOf('status')}::taskwire.task_status`)}
    and o.status in ('FAILED', 'CANCELLED', 'EXPIRED') and o.task_id < ${before} order by o.status desc, o.task_id desc`,
}

/** In the order of their creation by PostgreSQL's clock, which the ids only approximate. */
export const CREATED: Walk = {
  name: 'created',
  order: 'created',
  text: () => `select t.id, t.created_at from taskwire.tasks t
    where t.created_at >= coalesce(${valueOf('createdAfter')}::timestamptz, '-infinity') and t.created_at < coalesce(${valueOf('createdBefore')}::timestamptz, 'infinity')
    and ${IS_BEHIND} order by t.created_at desc, t.id desc`,
}

/**
 * The index that holds the tasks of a status, besides those of `tasks`. COMPLETED is where most tasks end, and WAITING
 * tasks are in no index of their own. The counts of a list follow from this, too.
 */
export const WALK_OF_STATUS = {
  SCHEDULED: DELIVERIES,
  WAITING: undefined,
  PENDING: DELIVERIES,
  PROCESSING: LEASES,
  RETRYING: DELIVERIES,
  CANCELLING: LEASES,
  COMPLETED: undefined,
  FAILED: ENDS,
  CANCELLED: ENDS,
  EXPIRED: ENDS,
} as const satisfies Record<Status, Walk | undefined>

/** The walk that serves a filter; those over few tasks come first, which decides between equals. `null`: none does. */
const WALK_OF_FILTER: {
  readonly [Name in FilterName]: ((value: NonNullable<TaskFilter[Name]>) => Walk | undefined) | null
} = {
  batch: () => BATCH,
  parent: () => PARENT,
  tag: () => TAG,
  type: () => TYPE,
  // Most tasks are in the default queue.
  queue: (queue) => (queue === 'default' ? undefined : QUEUE),
  status: (status) => WALK_OF_STATUS[status],
  // `CREATED` serves these, in an order of its own.
  createdAfter: null,
  createdBefore: null,
  q: null,
}

/** The walks that reach every task of the filter, in the order of ids. The last resort is the walk over all tasks. */
export function walksOf(filter: TaskFilter): [Walk, ...Walk[]] {
  const [first, ...others] = (Object.keys(WALK_OF_FILTER) as FilterName[]).flatMap(
    (name) => walkOf(name, filter[name]) ?? [],
  )
  return first === undefined ? [ALL] : [first, ...others]
}

function walkOf<Name extends FilterName>(name: Name, value: TaskFilter[Name]): Walk | undefined {
  return value === undefined ? undefined : WALK_OF_FILTER[name]?.(value)
}
