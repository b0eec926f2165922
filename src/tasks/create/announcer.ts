/**
 * Notifies watched lists of new tasks, after their commit and beside other work. If a notice is lost, lists find the task
 * when they are read again.
 */
import { markTenant } from '../../access/principal.js'
import type { Notice } from '../../protocol/notice.js'
import type { CreatedTask, NewTask } from '../../store/tasks/create.js'

/** See `broker/publisher.ts`. */
interface ListNotifier {
  notifyLists(makers: readonly (() => Notice)[]): void
}

/** Does not wait. `created` has the outcome of each task, in the same order; tasks without one are skipped. */
export function announceTasks(
  publisher: ListNotifier,
  tasks: readonly NewTask[],
  created: readonly (CreatedTask | undefined)[],
): void {
  const makers: (() => Notice)[] = []
  for (const [index, task] of tasks.entries()) {
    const made = created[index]
    if (made !== undefined) makers.push(noticeOf(task, made))
  }
  publisher.notifyLists(makers)
}

/** Made when it is needed, which is seldom. Until then only these fields are kept, not the payload. */
function noticeOf({ id, tenant, type, queue, tags, more }: NewTask, { status, createdAt }: CreatedTask): () => Notice {
  return () => {
    const facts = {
      type,
      queue,
      tags: [...tags],
      batchId: more?.batchId ?? null,
      parentId: more?.parentId ?? null,
      createdAt: createdAt.toISOString(),
    }
    return { taskId: id, ...markTenant(tenant), version: 1, status, facts }
  }
}
