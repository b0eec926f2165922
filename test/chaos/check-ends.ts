/** Checks that each task ended as its kind allows, and how often its effect was counted. */
import type { Database } from '../../src/db/database.js'
import type { Status } from '../../src/protocol/status.js'
import { NO_WORKER_FOR_TYPE } from '../../src/store/attempts/put-back-waits.js'

export interface ExpectedEnd {
  statuses: readonly Status[]
  /** Of one that is FAILED. */
  failure?: { code: string; message: RegExp }
  /** How many attempts failed, when that is certain for a task that is FAILED. Lost and released ones are not failures. */
  failedAttempts?: number
}

export interface ExpectedTask {
  id: string
  name: string
  end: ExpectedEnd
  /** A client asked for its cancellation, at some time. */
  isCancelled: boolean
}

export interface StoredEnd {
  id: string
  status: Status
  failure: { code: string; message: string } | null
  /** What became of each attempt, in order; `error` is its name. */
  attempts: readonly { outcome: string; error: string | null }[]
}

export async function readEnds(db: Database): Promise<StoredEnd[]> {
  const text = `
    select t.id, t.status, t.failure, coalesce((
      select json_agg(json_build_object('outcome', a.outcome, 'error', a.error->>'name') order by a.attempt) from taskwire.attempts a where a.task_id = t.id
    ), '[]') as attempts
    from taskwire.tasks t`
  return db.run({ name: 'chaos_ends', text }, [])
}

/** A line for each that ended otherwise. What has not ended at all is for `findViolations`. */
export function findWrongEnds(stored: readonly StoredEnd[], expected: readonly ExpectedTask[]): string[] {
  const ends = new Map(stored.map((end) => [end.id, end]))
  return expected.flatMap((task) => {
    const end = ends.get(task.id)
    return end === undefined || isAllowed(end, task)
      ? []
      : [`${task.id} (${task.name}) should have ended ${task.end.statuses.join(' or ')}: ${describe(end)}`]
  })
}

function isAllowed({ status, failure, attempts }: StoredEnd, { end, isCancelled }: ExpectedTask): boolean {
  if (status === 'CANCELLED') return isCancelled
  if (!end.statuses.includes(status)) return false
  if (status !== 'FAILED') return true
  const failed = attempts.filter(({ outcome }) => outcome === 'failed').length
  const isOwnFault = failure?.code === end.failure?.code && end.failure?.message.test(failure?.message ?? '') === true
  return isOwnFault && (end.failedAttempts === undefined || failed === end.failedAttempts)
}

function describe({ status, failure, attempts }: StoredEnd): string {
  return [
    status,
    JSON.stringify(failure),
    attempts.map(({ outcome, error }) => `${outcome} ${error ?? ''}`.trim()).join(', '),
  ].join('; ')
}

/**
 * An attempt has an effect once, and only one that began it can have it: so the receiver got no more requests than there were attempts that
 * had a handler, and one at least when the task has ended by what came after the effect.
 * @param received how many requests the receiver got for each task
 */
export function findWrongEffects(
  stored: readonly StoredEnd[],
  withEffect: readonly string[],
  received: ReadonlyMap<string, number>,
): string[] {
  const ends = new Map(stored.map((end) => [end.id, end]))
  return withEffect.flatMap((id) => {
    const end = ends.get(id)
    const count = received.get(id) ?? 0
    if (end === undefined) return []
    const isDone = end.status === 'COMPLETED' || end.failure?.code === 'invalid_effect'
    if (isDone && count === 0) return [`${id}: its effect never arrived: ${describe(end)}`]
    const runs = end.attempts.filter(({ error }) => error !== NO_WORKER_FOR_TYPE).length
    return count > runs ? [`${id}: its effect arrived ${count} times: ${describe(end)}`] : []
  })
}

/** How many tasks a worker without their type had in its hands. */
export function countPutBack(stored: readonly StoredEnd[]): number {
  return stored.filter(({ attempts }) => attempts.some(({ error }) => error === NO_WORKER_FOR_TYPE)).length
}
