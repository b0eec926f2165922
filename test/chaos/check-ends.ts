/** Checks that each task ended as its kind allows, and that its effect arrived the right number of times. */
import type { Database } from '../../src/db/database.js'
import type { Status } from '../../src/protocol/status.js'
import { NO_WORKER_FOR_TYPE } from '../../src/store/attempts/put-back-waits.js'

export interface ExpectedEnd {
  statuses: readonly Status[]
  /** The failure of a task that is FAILED. */
  failure?: { code: string; message: RegExp }
  /** How many attempts of a FAILED task failed, if that is certain. Lost and released attempts are not failures. */
  failedAttempts?: number
}

export interface ExpectedTask {
  id: string
  name: string
  end: ExpectedEnd
  /** Whether a client requested its cancellation at some point. */
  isCancelled: boolean
}

export interface StoredEnd {
  id: string
  status: Status
  failure: { code: string; message: string } | null
  /** The outcomes of the attempts, in order; `error` is the name of the error. */
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

/** Returns a line for each task with a wrong end. `findViolations` reports tasks that have not ended at all. */
export function findWrongEnds(stored: readonly StoredEnd[], expected: readonly ExpectedTask[]): string[] {
  const ends = new Map(stored.map((end) => [end.id, end]))
  return expected.flatMap((task) => {
    const end = ends.get(task.id)
    return end === undefined || isAllowed(end, task)
      ? []
      : [`${task.id} (${task.name}) should have ended as ${task.end.statuses.join(' or ')}: ${describe(end)}`]
  })
}

function isAllowed({ status, failure, attempts }: StoredEnd, { end, isCancelled }: ExpectedTask): boolean {
  if (status === 'CANCELLED') return isCancelled || end.statuses.includes(status)
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
 * An attempt performs the effect at most once, and only after its handler has started. So the receiver got no more
 * requests than there were attempts whose handler ran, and at least one if the task ended in a way that follows the
 * effect.
 * @param received the number of requests that the receiver got, by task
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

/** Counts the tasks that a worker without their type has claimed and put back. */
export function countPutBack(stored: readonly StoredEnd[]): number {
  return stored.filter(({ attempts }) => attempts.some(({ error }) => error === NO_WORKER_FOR_TYPE)).length
}

/** How many attempts had each outcome, with the name of the error. */
export function countOutcomes(stored: readonly StoredEnd[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { outcome, error } of stored.flatMap(({ attempts }) => attempts)) {
    const name = [outcome, error].filter(Boolean).join(' ')
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}
