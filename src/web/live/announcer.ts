/**
 * Tells watched lists of new tasks, after their commit and beside the requests. What is lost here, a list finds when it is read again.
 *
 * One publication is under way at a time, and what comes meanwhile gathers. While the broker is away nothing gathers without a bound:
 * the oldest is dropped.
 */
import type { FastifyBaseLogger } from 'fastify'
import { markTenant } from '../../access/principal.js'
import type { EventBus } from '../../broker/broker.js'
import type { Notice } from '../../protocol/notice.js'
import type { CreatedTask, NewTask } from '../../store/tasks/create.js'

const MAX_WAITING = 5_000

export interface Announcer {
  /** Waits for nothing. `created` has what became of each task, in their order; those without are left out. */
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
        if (!isAway) log.warn({ err: error, count: notices.length }, 'new tasks were not announced; lists find them when they are read again')
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

function toNotice({ id, tenant, type, queue, tags, more }: NewTask, { status, createdAt }: CreatedTask): Notice {
  const facts = { type, queue, tags: [...tags], batchId: more?.batchId ?? null, parentId: more?.parentId ?? null, createdAt: createdAt.toISOString() }
  return { taskId: id, ...markTenant(tenant), version: 1, status, facts }
}
