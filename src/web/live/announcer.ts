/** Tells watched lists of new tasks, after their commit and beside the requests. What is lost, a list finds when it is read again. */
import type { Publisher } from '../../broker/publisher.js'
import type { Notice } from '../../protocol/notice.js'
import type { CreatedTask, NewTask } from '../../store/tasks/create.js'

export interface Announcer {
  /** Waits for nothing. `created` has what became of each task, in their order; those without are left out. */
  announce(tasks: readonly NewTask[], created: readonly (CreatedTask | undefined)[]): void
}

export function createAnnouncer(publisher: Pick<Publisher, 'notifyLists'>): Announcer {
  return {
    announce(tasks, created) {
      publisher.notifyLists(tasks.flatMap((task, index) => created[index] === undefined ? [] : toNotice(task, created[index])))
    },
  }
}

function toNotice({ id, type, queue, tags, more }: NewTask, { status, createdAt }: CreatedTask): Notice {
  const facts = { type, queue, tags: [...tags], batchId: more?.batchId ?? null, parentId: more?.parentId ?? null, createdAt: createdAt.toISOString() }
  return { taskId: id, version: 1, status, facts }
}
