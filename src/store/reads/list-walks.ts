/**
 * The orders in which a list can walk over tasks, newest first: each an index that holds only candidates for a filter.
 *
 * A walk reads its index backward and stops after a step, so its cost is that of the step, however large the tables are. Each is
 * written so that no other index can serve it: a column that is compared with `=` is left out of an order, and the planner
 * might walk all tasks for a type that it takes to be frequent. Compared with `>=` and `<=`, it stays in the order, which one index has.
 * And what the index does not have, the tenant above all, is looked at afterwards: as a condition it would promise so few rows that
 * reading and sorting all of them seems cheap.
 */
import type { Principal } from '../../access/principal.js'
import type { Status } from '../../protocol/status.js'
import { FIRST_INSTANT, LAST_INSTANT, type TaskId } from '../../protocol/task.js'

/** What tasks must be like to be listed. */
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
  /** Text in the title, in upper or lower case. */
  q?: string | undefined
}

export interface Walk {
  readonly name: string
  /** `select id … order by …`, of those before this id (an expression), without a limit. */
  text(before: string): string
  /** Newest first by id, or by the time of creation. */
  readonly order: 'id' | 'created'
}

/** Parameters of every statement of a list: $1 to $10 the tenant and the filter, $11 and $12 the position (id, created at). */
export function parametersOf({ tenant }: Principal, filter: TaskFilter, position: ListPosition | undefined): (string | null)[] {
  const { status, type, tag, queue, batch, parent, createdAfter, createdBefore, q } = filter
  const values = [status, type, tag, queue, batch, parent, createdAfter, createdBefore, q, position?.id, position?.createdAt]
  return [tenant, ...values.map((value) => value ?? null)]
}

/** A task that was looked at: the list goes on behind it. */
export interface ListPosition {
  id: TaskId
  /** ISO 8601. Missing where the order is that of the ids. */
  createdAt?: string | undefined
}

/** Gives every parameter a type: a statement that leaves one out would be refused. It is not read. */
export const GIVEN = `given as (select ${Array.from({ length: 12 }, (_, index) => `$${index + 1}::text`).join(', ')})`

export const FITS = `t.tenant = $1 and ($2::text is null or t.status = $2::text::taskwire.task_status) and ($3::text is null or t.type = $3::text)
  and ($4::text is null or t.tags @> array[$4::text]) and ($5::text is null or t.queue = $5::text)
  and ($6::text is null or t.batch_id = $6::text::uuid) and ($7::text is null or t.parent_id = $7::text::uuid)
  and ($8::text is null or t.created_at >= $8::text::timestamptz) and ($9::text is null or t.created_at < $9::text::timestamptz)
  and ($10::text is null or strpos(lower(t.title), lower($10::text)) > 0)`

/** No id is greater. */
export const LAST_ID = `'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid`
export const BEFORE_ID = `coalesce($11::text::uuid, ${LAST_ID})`
/** Times beyond both ends of what a position can say are shown as those ends, so that these stand for all that lies beyond them. */
const BEFORE_TIME = `case $12::text when '${LAST_INSTANT}' then 'infinity' when '${FIRST_INSTANT}' then '-infinity' else coalesce($12::text::timestamptz, 'infinity') end`
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
const BATCH = walkTasks('batch', 'batch_id', '$6::text::uuid')
const PARENT = walkTasks('parent', 'parent_id', '$7::text::uuid')
const TYPE = walkTasks('type', 'type', '$3::text')
const QUEUE = walkTasks('queue', 'queue', '$5::text', ` and t.queue <> 'default'`)
const TAG = walkOthers('tag', 'task_tags', 'o.tenant = $1 and o.tag = $4::text and ')
/** Tasks that wait for a worker have a delivery, those that run have a lease. */
export const DELIVERIES = walkOthers('deliveries', 'deliveries')
export const LEASES = walkOthers('leases', 'leases')
/** Tasks that ended badly stand in a partial index of the history; nothing leaves a final status. */
export const ENDS: Walk = {
  name: 'ends',
  order: 'id',
  text: (before) => `select o.task_id as id from taskwire.transitions o where o.tenant = $1 and ${within('o.status', '$2::text::taskwire.task_status')}
    and o.status in ('FAILED', 'CANCELLED', 'EXPIRED') and o.task_id < ${before} order by o.status desc, o.task_id desc`,
}

/** In the order of their creation by PostgreSQL's clock, of which ids are only near. */
export const CREATED: Walk = {
  name: 'created',
  order: 'created',
  text: () => `select t.id, t.created_at from taskwire.tasks t
    where t.created_at >= coalesce($8::text::timestamptz, '-infinity') and t.created_at < coalesce($9::text::timestamptz, 'infinity')
    and ${IS_BEHIND} order by t.created_at desc, t.id desc`,
}

/** The walks that reach every task of the filter, in the order of ids; the last resort is that over all tasks. */
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

/** COMPLETED is where most tasks end; and WAITING has no place of its own. */
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
