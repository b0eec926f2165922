/**
 * Notifies watched lists of new tasks, after their commit and in parallel with the requests. If a notice is lost here,
 * lists find the task when they are read again.
 *
 * One publication is in progress at a time, and notices that arrive meanwhile are collected. While the broker is away
 * the oldest are dropped, so the collection is bounded.
 */
import type { FastifyBaseLogger } from 'fastify'
import type { EventBus } from '../../broker/broker.js'
import type { Notice } from '../../protocol/notice.js'
import type { CreatedTask, NewTask } from '../../store/tasks/create.js'

const MAX_WAITING = 5_000

export interface Announcer {
  /** Does not wait. `created` has the outcome of each task, in the same order; tasks without one are skipped. */
  announce(tasks: readonly NewTask[], created: readonly (CreatedTask | undefined)[]): void
}

export function createAnnouncer({ events, log }: { events: Pick<EventBus, 'publishNotices'>; log: FastifyBaseLogger }): Announcer {
  let waiting: Notice[] = []
  let isPublishing = false
  let isAway = false

  async function publishWaiting(): Promise<void> {
    isPublishing = true
    while (waiting.length > 0) {
      const notices = waiting
      waiting = []
      try {
        await events.publishNotices(notices)
        isAway = false
      } catch (error) {
        if (!isAway) log.warn({ err: error, count: notices.length }, 'could not notify lists of new tasks; lists find them at their next read')
        isAway = true
      }
    }
    isPublishing = false
  }

  return {
    announce(tasks, created) {
      waiting.push(...tasks.flatMap((task, index) => created[index] === undefined ? [] : toNotice(task, created[index])))
      if (waiting.length > MAX_WAITING) waiting = waiting.slice(-MAX_WAITING)
      if (!isPublishing) void publishWaiting()
    },
  }
}

function toNotice({ id, type, queue, tags, more }: NewTask, { status, createdAt }: CreatedTask): Notice {
  const facts = { type, queue, tags: [...tags], batchId: more?.batchId ?? null, parentId: more?.parentId ?? null, createdAt: createdAt.toISOString() }
  return { taskId: id, version: 1, status, facts }
}
