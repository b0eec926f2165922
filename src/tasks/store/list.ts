/**
 * Pages of tasks, newest first.
 *
 * `tasks` has no index on status, because status changes (see `db/schema.ts`). A rare status is found where only such
 * tasks have a row: those that wait have a delivery, those that run have a lease, those that ended badly stand in a
 * partial index of the history. COMPLETED is where most tasks end, so walking the ids finds it soon.
 */
import { and, arrayContains, desc, eq, inArray, lt, type SQL } from 'drizzle-orm'
import type { Database } from '../../db/database.js'
import { deliveries, leases, tasks, transitions } from '../../db/schema.js'
import type { Status } from '../../protocol/status.js'
import type { Task, TaskId } from '../../protocol/task.js'
import { toTask } from './rows.js'

export interface ListFilter {
  status?: Status
  type?: string
  tag?: string
  queue?: string
  batch?: TaskId
  parent?: TaskId
  /** Only tasks created before this one. */
  beforeId?: TaskId
  limit: number
}

export async function listTasks(db: Database, tenant: string, filter: ListFilter): Promise<Task[]> {
  const { status, type, tag, queue, batch, parent, beforeId, limit } = filter
  const rows = await db.orm
    .select()
    .from(tasks)
    .where(
      and(
        eq(tasks.tenant, tenant),
        status === undefined ? undefined : and(eq(tasks.status, status), hasRowOf(db, tenant, status)),
        type === undefined ? undefined : eq(tasks.type, type),
        queue === undefined ? undefined : eq(tasks.queue, queue),
        batch === undefined ? undefined : eq(tasks.batchId, batch),
        parent === undefined ? undefined : eq(tasks.parentId, parent),
        tag === undefined ? undefined : arrayContains(tasks.tags, [tag]),
        beforeId === undefined ? undefined : lt(tasks.id, beforeId),
      ),
    )
    .orderBy(desc(tasks.id))
    .limit(limit)
  return rows.map(toTask)
}

/** Narrows the search to where tasks of this status have a row. It changes no answer, only how soon it is found. */
function hasRowOf(db: Database, tenant: string, status: Status): SQL | undefined {
  switch (status) {
    case 'SCHEDULED':
    case 'PENDING':
    case 'RETRYING':
      return inArray(tasks.id, db.orm.select({ id: deliveries.taskId }).from(deliveries))
    case 'PROCESSING':
    case 'CANCELLING':
      return inArray(tasks.id, db.orm.select({ id: leases.taskId }).from(leases))
    case 'FAILED':
    case 'CANCELLED':
    case 'EXPIRED': {
      const ended = and(eq(transitions.tenant, tenant), eq(transitions.status, status))
      return inArray(tasks.id, db.orm.select({ id: transitions.taskId }).from(transitions).where(ended))
    }
    case 'WAITING':
    case 'COMPLETED':
      return undefined
  }
}
