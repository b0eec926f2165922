/**
 * The orders in which a list can walk over tasks, newest first: each an index that holds only candidates for a filter.
 *
 * A walk reads its index backward and stops after a step, so its cost is that of the step, however large the tables are. Each is
 * written so that no other index can serve it: a column that is compared with `=` is left out of an order, and the planner
 * might walk all tasks for a type that it takes to be frequent. Compared with `>=` and `<=`, it stays in the order, which one index has.
 * And what the index does not have, the tenant above all, is looked at afterwards: as a condition it would promise so few rows that
 * reading and sorting all of them seems cheap.
 */
import type { FilterName, TaskFilter } from '../../protocol/filter.js'
import type { Status } from '../../protocol/status.js'
import { FIRST_INSTANT, LAST_INSTANT } from '../../protocol/task.js'
import { POSITION_ID, POSITION_TIME, valueOf } from './filter-sql.js'

export interface Walk {
  readonly name: string
  /** `select id … order by …`, of those before this id (an expression), without a limit. */
  text(before: string): string
  /** Newest first by id, or by the time of creation. */
  readonly order: 'id' | 'created'
}

/** No id is greater. */
export const LAST_ID = `'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid`
export const BEFORE_ID = `coalesce(${POSITION_ID}::uuid, ${LAST_ID})`
/** Times beyond both ends of what a position can say are shown as those ends, so that these stand for all that lies beyond them. */
const BEFORE_TIME = `case ${POSITION_TIME} when '${LAST_INSTANT}' then 'infinity' when '${FIRST_INSTANT}' then '-infinity' else coalesce(${POSITION_TIME}::timestamptz, 'infinity') end`
/** Of the order by time: only what comes behind the position. */
export const IS_BEHIND = `(t.created_at, t.id) < (${BEFORE_TIME}, ${BEFORE_ID})`
const within = (column: string, value: string) => `${column} >= ${value} and ${column} <= ${value}`

/** A walk over one of the indexes of `tasks` on (…, column, id). */
function walkTasks(name: string, column: string, value: string, more = ''): Walk {
  const where = `${within(`t.${column}`, value)}${more}`
  return { name, order: 'id', text: (before) => `select t.id from taskwire.tasks t where ${where} and t.id < ${before} order by t.${column} desc, t.id desc` }
}

function walkOthers(name: string, table: string, where = ''): Walk {
  return { name, order: 'id', text: (before) => `select o.task_id as id from taskwire.${table} o where ${where}o.task_id < ${before} order by o.task_id desc` }
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
/** Tasks that wait for a worker have a delivery, those that run have a lease. */
export const DELIVERIES = walkOthers('deliveries', 'deliveries')
export const LEASES = walkOthers('leases', 'leases')
/** Tasks that ended badly stand in a partial index of the history; nothing leaves a final status. */
export const ENDS: Walk = {
  name: 'ends',
  order: 'id',
  text: (before) => `select o.task_id as id from taskwire.transitions o where o.tenant = $1 and ${within('o.status', `${valueOf('status')}::taskwire.task_status`)}
    and o.status in ('FAILED', 'CANCELLED', 'EXPIRED') and o.task_id < ${before} order by o.status desc, o.task_id desc`,
}

/** In the order of their creation by PostgreSQL's clock, of which ids are only near. */
export const CREATED: Walk = {
  name: 'created',
  order: 'created',
  text: () => `select t.id, t.created_at from taskwire.tasks t
    where t.created_at >= coalesce(${valueOf('createdAfter')}::timestamptz, '-infinity') and t.created_at < coalesce(${valueOf('createdBefore')}::timestamptz, 'infinity')
    and ${IS_BEHIND} order by t.created_at desc, t.id desc`,
}

/**
 * Where the tasks of a status have a row, besides that in `tasks`. Tasks that are WAITING or COMPLETED have none: COMPLETED is where most end.
 * What a list counts follows from this, too.
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

/** The walk that serves a filter; those that look at few tasks first, which decides between equals. `null`: none does. */
const WALK_OF_FILTER: { readonly [Name in FilterName]: ((value: NonNullable<TaskFilter[Name]>) => Walk | undefined) | null } = {
  batch: () => BATCH,
  parent: () => PARENT,
  tag: () => TAG,
  type: () => TYPE,
  // Most tasks are in the default queue.
  queue: (queue) => (queue === 'default' ? undefined : QUEUE),
  status: (status) => WALK_OF_STATUS[status],
  // These have an order of their own, `CREATED`.
  createdAfter: null,
  createdBefore: null,
  q: null,
}

/** The walks that reach every task of the filter, in the order of ids; the last resort is that over all tasks. */
export function walksOf(filter: TaskFilter): [Walk, ...Walk[]] {
  const [first, ...others] = (Object.keys(WALK_OF_FILTER) as FilterName[]).flatMap((name) => walkOf(name, filter[name]) ?? [])
  return first === undefined ? [ALL] : [first, ...others]
}

function walkOf<Name extends FilterName>(name: Name, value: TaskFilter[Name]): Walk | undefined {
  return value === undefined ? undefined : WALK_OF_FILTER[name]?.(value)
}
