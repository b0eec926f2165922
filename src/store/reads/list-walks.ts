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
import type { Principal } from '../../access/principal.js'
import type { Status } from '../../protocol/status.js'
import { FIRST_INSTANT, LAST_INSTANT, type TaskId } from '../../protocol/task.js'

/** The conditions on the tasks of a list. */
export interface TaskFilter {
  status?: Status | undefined
  type?: string | undefined
  tag?: string | undefined
  queue?: string | undefined
  batch?: TaskId | undefined
  parent?: TaskId | undefined
  /** ISO 8601: created then or later. */
  createdAfter?: string | undefined
  /** ISO 8601: created before. */
  createdBefore?: string | undefined
  /** Text in the title, ignoring case. */
  q?: string | undefined
}

export interface Walk {
  readonly name: string
  /** `select id … order by …` of the tasks before this id (an expression), without a limit. */
  text(before: string): string
  /** Newest first, by id or by time of creation. */
  readonly order: 'id' | 'created'
}

/**
 * Parameters of every statement of a list: $1 to $10 are the tenant and the filter, $11 and $12 the position (id,
 * created at).
 */
export function parametersOf({ tenant }: Principal, filter: TaskFilter, position: ListPosition | undefined): (string | null)[] {
  const { status, type, tag, queue, batch, parent, createdAfter, createdBefore, q } = filter
  const values = [status, type, tag, queue, batch, parent, createdAfter, createdBefore, q, position?.id, position?.createdAt]
  return [tenant, ...values.map((value) => value ?? null)]
}

/** The last task examined; the list continues behind it. */
export interface ListPosition {
  id: TaskId
  /** ISO 8601. Missing when the order is that of the ids. */
  createdAt?: string | undefined
}

/** Gives every parameter a type, because PostgreSQL refuses a statement that leaves one out. It is not read. */
export const GIVEN = `given as (select ${Array.from({ length: 12 }, (_, index) => `$${index + 1}::text`).join(', ')})`

export const FITS = `t.tenant = $1 and ($2::text is null or t.status = $2::text::taskwire.task_status) and ($3::text is null or t.type = $3::text)
  and ($4::text is null or t.tags @> array[$4::text]) and ($5::text is null or t.queue = $5::text)
  and ($6::text is null or t.batch_id = $6::text::uuid) and ($7::text is null or t.parent_id = $7::text::uuid)
  and ($8::text is null or t.created_at >= $8::text::timestamptz) and ($9::text is null or t.created_at < $9::text::timestamptz)
  and ($10::text is null or strpos(lower(t.title), lower($10::text)) > 0)`

/** The greatest id. */
export const LAST_ID = `'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid`
export const BEFORE_ID = `coalesce($11::text::uuid, ${LAST_ID})`
/**
 * A position shows times beyond what RFC 3339 can express as the first or last one, so these stand for everything
 * beyond them.
 */
const BEFORE_TIME = `case $12::text when '${LAST_INSTANT}' then 'infinity' when '${FIRST_INSTANT}' then '-infinity' else coalesce($12::text::timestamptz, 'infinity') end`
/** In the order by time: only tasks behind the position. */
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
const BATCH = walkTasks('batch', 'batch_id', '$6::text::uuid')
const PARENT = walkTasks('parent', 'parent_id', '$7::text::uuid')
const TYPE = walkTasks('type', 'type', '$3::text')
const QUEUE = walkTasks('queue', 'queue', '$5::text', ` and t.queue <> 'default'`)
const TAG = walkOthers('tag', 'task_tags', 'o.tenant = $1 and o.tag = $4::text and ')
/** Tasks that wait for a worker have a delivery; running tasks have a lease. */
export const DELIVERIES = walkOthers('deliveries', 'deliveries')
export const LEASES = walkOthers('leases', 'leases')
/** Tasks that ended badly are in a partial index of the history, because a final status never changes. */
export const ENDS: Walk = {
  name: 'ends',
  order: 'id',
  text: (before) => `select o.task_id as id from taskwire.transitions o where o.tenant = $1 and ${within('o.status', '$2::text::taskwire.task_status')}
    and o.status in ('FAILED', 'CANCELLED', 'EXPIRED') and o.task_id < ${before} order by o.status desc, o.task_id desc`,
}

/** In the order of their creation by PostgreSQL's clock, which the ids only approximate. */
export const CREATED: Walk = {
  name: 'created',
  order: 'created',
  text: () => `select t.id, t.created_at from taskwire.tasks t
    where t.created_at >= coalesce($8::text::timestamptz, '-infinity') and t.created_at < coalesce($9::text::timestamptz, 'infinity')
    and ${IS_BEHIND} order by t.created_at desc, t.id desc`,
}

/** The walks that reach every task of the filter, in the order of ids. The last resort is the walk over all tasks. */
export function walksOf({ status, type, tag, queue, batch, parent }: TaskFilter): [Walk, ...Walk[]] {
  const walks = [
    batch !== undefined && BATCH,
    parent !== undefined && PARENT,
    tag !== undefined && TAG,
    type !== undefined && TYPE,
    // Most tasks are in the default queue.
    queue !== undefined && queue !== 'default' && QUEUE,
    status !== undefined && walkOfStatus(status),
  ].filter((walk) => walk !== false && walk !== undefined)
  const [first, ...others] = walks
  return first === undefined ? [ALL] : [first, ...others]
}

/** COMPLETED is where most tasks end, and WAITING tasks are in no index of their own. */
function walkOfStatus(status: Status): Walk | undefined {
  switch (status) {
    case 'SCHEDULED':
    case 'PENDING':
    case 'RETRYING':
      return DELIVERIES
    case 'PROCESSING':
    case 'CANCELLING':
      return LEASES
    case 'FAILED':
    case 'CANCELLED':
    case 'EXPIRED':
      return ENDS
    case 'WAITING':
    case 'COMPLETED':
      return undefined
  }
}
