/**
 * Releases gated deliveries: those whose turn it is and which nothing holds may be claimed from now on. The choice is
 * made in PostgreSQL, by `taskwire.release_deliveries` (drizzle/0016_release.sql).
 *
 * Out: the deliveries to dispatch, and the transitions of tasks that a rate limit skips. A released delivery that is not
 * claimed within the claim window is dispatched again by the relay, like any other.
 */
import type { Database } from '../../db/database.js'
import { asStatus, inStatuses } from '../../db/status-sql.js'
import { IDLE_STATUSES } from '../../protocol/status.js'
import type { Event } from '../../protocol/stream.js'
import type { TaskId } from '../../protocol/task.js'
import type { DueDelivery } from '../deliveries/take-due.js'
import { FACTS, toEvent, type TransitionRow } from '../rows.js'
import { deleteDeliveries, moveTasks, TRANSITION_COLUMNS } from '../transition.js'
import { RELEASED_PRIORITY } from './priority.js'

/** Most deliveries released by one statement. */
export const MAX_RELEASED = 200

const RELEASE = moveTasks({
  name: 'release_deliveries',
  input: [
    `released as materialized (
  select r.task_id, r.attempt, r.queue, r.skipped_by, r.wake_in_ms, r.is_full
  from taskwire.release_deliveries(${MAX_RELEASED}, $1::double precision) r
)`,
  ],
  current: {
    status: asStatus('CANCELLED'),
    reason: `'over the limit ' || r.skipped_by`,
    from: '(select * from released where skipped_by is not null order by task_id) r',
    id: 'r.task_id',
    // One that is being changed is skipped at the next release.
    skipsLocked: true,
    where: `t.attempt = any(array[r.attempt - 1]) and t.status ${inStatuses(IDLE_STATUSES)}`,
  },
  set: ['run_at = null', 'finished_at = now()'],
  returning: [FACTS],
  follow: [deleteDeliveries()],
  answer: `select r.task_id as "releasedId", r.attempt as "releasedAttempt", r.queue, r.wake_in_ms as "wakeInMs", r.is_full as "isFull", null::uuid as "taskId",
  null as tenant, null as version, null as "fromStatus", null as status, null::integer as attempt, null::timestamptz as at, null as reason, null as facts
from released r
where r.skipped_by is null
union all
select null, null, null, null, null, ${TRANSITION_COLUMNS}, m.facts
from moved m`,
})

type ReleaseRow =
  | { releasedId: TaskId; releasedAttempt: number; queue: string; version: null }
  | { releasedId: null; version: null; wakeInMs: number | null; isFull: boolean }
  | (TransitionRow & { releasedId: null })

export interface Release {
  deliveries: DueDelivery[]
  /** Of tasks that are skipped, to be published. */
  transitions: Event[]
  /** When a release may find more, in milliseconds; undefined when only an event can change that. */
  nextInMs: number | undefined
  /** Whether a queue has as many released deliveries as slots, so that a claim lets more be released. */
  isFull: boolean
}

/** @param claimWindowMs how long workers have to claim what is released now */
export async function releaseDeliveries(db: Database, claimWindowMs: number): Promise<Release> {
  const release: Release = { deliveries: [], transitions: [], nextInMs: undefined, isFull: false }
  for (const row of await db.run<ReleaseRow>(RELEASE, [claimWindowMs])) {
    if (row.version !== null) release.transitions.push(toEvent(row))
    else if (row.releasedId === null) {
      release.nextInMs = row.wakeInMs ?? undefined
      release.isFull = row.isFull
    } else
      release.deliveries.push({
        taskId: row.releasedId,
        attempt: row.releasedAttempt,
        queue: row.queue,
        priority: RELEASED_PRIORITY,
      })
  }
  return release
}
