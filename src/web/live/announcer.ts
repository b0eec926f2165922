/**
 * Notifies watched lists of new tasks, after their commit and in parallel with the requests. If a notice is lost, lists
 * find the task when they are read again.
 */
import { markTenant } from '../../access/principal.js'
import type { Publisher } from '../../broker/publisher.js'
import type { Notice } from '../../protocol/notice.js'
import type { CreatedTask, NewTask } from '../../store/tasks/create.js'

/** Does not wait. `created` has the outcome of each task, in the same order; tasks without one are skipped. */
export function announceTasks(
  publisher: Pick<Publisher, 'notifyLists'>,
  tasks: readonly NewTask[],
  created: readonly (CreatedTask | undefined)[],
): void {
  publisher.notifyLists(tasks.flatMap((task, index) => (created[index] === undefined ? [] : toNotice(task, created[index]))))
}

function toNotice({ id, tenant, type, queue, tags, more }: NewTask, { status, createdAt }: CreatedTask): Notice {
  const facts = { type, queue, tags: [...tags], batchId: more?.batchId ?? null, parentId: more?.parentId ?? null, createdAt: createdAt.toISOString() }
  return { taskId: id, ...markTenant(tenant), version: 1, status, facts }
}
