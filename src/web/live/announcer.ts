/**
 * Notifies watched lists of new tasks, after their commit and in parallel with the requests. If a notice is lost here,
 * lists find the task when they are read again.
 *
 * One publication is in progress at a time, and notices that arrive meanwhile are collected. While the broker is away
 * the oldest are dropped, so the collection is bounded.
 *
 * Usually no process follows a list, and a publication would cost a good part of the create. So the broker is asked first
 * whether any process subscribes to notices:
 *
 * - None: notices of tasks committed before the question are dropped. A process that subscribes later reads the list after
 *   its subscription, and finds those tasks. Notices of later tasks are kept for the next question, `QUIET_MS` later.
 * - Some, or the broker does not answer: the collected notices are published, and for `HEARD_MS` so are all that follow,
 *   without another question.
 */
import { markTenant } from '../../access/principal.js'
import type { EventBus } from '../../broker/broker.js'
import type { Notice } from '../../protocol/notice.js'
import type { CreatedTask, NewTask } from '../../store/tasks/create.js'
import type { BrokerLog } from '../../broker/incident-log.js'
import { settlesWithin } from '../../timing/deadline.js'
import { pause } from '../../timing/pause.js'

const MAX_WAITING = 5_000
const QUIET_MS = 100
const HEARD_MS = 1_000
/** How long a stop waits for what is not published yet. */
const STOP_MS = 500

export interface Announcer {
  /** Does not wait. `created` has the outcome of each task, in the same order; tasks without one are skipped. */
  announce(tasks: readonly NewTask[], created: readonly (CreatedTask | undefined)[]): void
  /** Publishes at once what waits, and resolves when that is done or takes too long. Never rejects. */
  stop(): Promise<void>
}

/** What a notice is made of. Not the whole task: a payload is large. */
type NewFacts = Pick<NewTask, 'id' | 'tenant' | 'type' | 'queue' | 'tags' | 'more'> & Pick<CreatedTask, 'status' | 'createdAt'>

export function createAnnouncer({ events, log }: { events: Pick<EventBus, 'publishNotices' | 'hasNoticeListeners'>; log: Pick<BrokerLog, 'warn'> }): Announcer {
  let waiting: NewFacts[] = []
  let publishing: Promise<void> | undefined
  const stopping = new AbortController()
  let isAway = false
  let heardUntilMs = 0

  async function isHeard(): Promise<boolean> {
    if (performance.now() < heardUntilMs) return true
    // Where the question is not allowed, everything is published.
    if (!(await events.hasNoticeListeners().catch(() => true))) return false
    heardUntilMs = performance.now() + HEARD_MS
    return true
  }

  async function publishWaiting(): Promise<void> {
    while (waiting.length > 0) {
      const gathered = waiting
      waiting = []
      if (await isHeard()) await publish(gathered)
      else await pause(QUIET_MS, stopping.signal)
    }
    publishing = undefined
  }

  async function publish(tasks: readonly NewFacts[]): Promise<void> {
    try {
      await events.publishNotices(tasks.map(toNotice))
      isAway = false
    } catch (error) {
      if (!isAway && !stopping.signal.aborted) log.warn({ err: error, count: tasks.length }, 'could not notify lists of new tasks; lists find them at their next read')
      isAway = true
    }
  }

  return {
    announce(tasks, created) {
      for (const [index, { id, tenant, type, queue, tags, more }] of tasks.entries()) {
        const made = created[index]
        if (made !== undefined) waiting.push({ id, tenant, type, queue, tags, more, status: made.status, createdAt: made.createdAt })
      }
      if (waiting.length > MAX_WAITING) waiting = waiting.slice(-MAX_WAITING)
      if (waiting.length > 0) publishing ??= publishWaiting()
    },
    async stop() {
      stopping.abort()
      if (publishing !== undefined) await settlesWithin(publishing, STOP_MS)
    },
  }
}

function toNotice({ id, tenant, type, queue, tags, more, status, createdAt }: NewFacts): Notice {
  const facts = { type, queue, tags: [...tags], batchId: more?.batchId ?? null, parentId: more?.parentId ?? null, createdAt: createdAt.toISOString() }
  return { taskId: id, ...markTenant(tenant), version: 1, status, facts }
}
