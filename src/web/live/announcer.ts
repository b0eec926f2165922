/**
 * Tells watched lists of new tasks, after their commit and beside the requests. What is lost here, a list finds when it is read again.
 *
 * One publication is under way at a time, and what comes meanwhile gathers. While the broker is away nothing gathers without a bound:
 * the oldest is dropped.
 *
 * Mostly nobody watches a list, and then a publication costs as much as a good part of the create. So the broker is asked first whether
 * anybody listens:
 *
 * - Nobody: what was committed before the question is dropped. Whoever subscribes from then on reads the list after its
 *   subscription, and finds it there. What is committed later is kept for the next question, `QUIET_MS` later.
 * - Somebody, or the broker does not say: what has gathered is published, and for `HEARD_MS` all that follows is, without another question.
 */
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
  /** Waits for nothing. `created` has what became of each task, in their order; those without are left out. */
  announce(tasks: readonly NewTask[], created: readonly (CreatedTask | undefined)[]): void
  /** Publishes at once what waits, and resolves when that is done or takes too long. Never rejects. */
  stop(): Promise<void>
}

/** What a notice is made of. Not the whole task: a payload is large. */
type NewFacts = Pick<NewTask, 'id' | 'type' | 'queue' | 'tags' | 'more'> & Pick<CreatedTask, 'status' | 'createdAt'>

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
      if (!isAway && !stopping.signal.aborted) log.warn({ err: error, count: tasks.length }, 'new tasks were not announced; lists find them when they are read again')
      isAway = true
    }
  }

  return {
    announce(tasks, created) {
      for (const [index, { id, type, queue, tags, more }] of tasks.entries()) {
        const made = created[index]
        if (made !== undefined) waiting.push({ id, type, queue, tags, more, status: made.status, createdAt: made.createdAt })
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

function toNotice({ id, type, queue, tags, more, status, createdAt }: NewFacts): Notice {
  const facts = { type, queue, tags: [...tags], batchId: more?.batchId ?? null, parentId: more?.parentId ?? null, createdAt: createdAt.toISOString() }
  return { taskId: id, version: 1, status, facts }
}
