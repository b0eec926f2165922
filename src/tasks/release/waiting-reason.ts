/**
 * Decides what a task waits for, of everything that may hold it, and says so.
 *
 * One reason is named: the one that holds it longest, or that a person must end. In this order:
 *
 * 1. `sequence_halted`: a task ahead of it has failed or expired. A person must act.
 * 2. `paused`, without an end, or with one after the task is due. A person has decided that it waits.
 * 3. `run_time`: until then, neither a worker nor a slot is of use.
 * 4. `no_worker_for_queue`, `no_worker_for_type`: it ends with a deployment.
 * 5. `backoff`: it ends by itself. After the others, because a task whose type no worker knows is put back again and
 *    again.
 * 6. `sequence`: the tasks ahead of it must end, one after the other.
 * 7. `limit`: a task that is counted must end.
 * 8. `rate`: it ends with time.
 * 9. `turn`: slots are taken, or others are ahead of it.
 * 10. `starting`: none of these.
 */
import { FIRST_INSTANT, LAST_INSTANT, type TaskId } from '../../protocol/task.js'
import type { WaitingCode } from '../../protocol/waiting.js'
import type { LimitFacts, PauseFacts, WaitFacts } from '../../store/release/explain.js'

export interface WaitingReason {
  /** `turn` stands for `starting` too: which of them it is, its place decides. */
  code: WaitingCode
  text: string
  /** When that ends, in milliseconds since 1970; null when it is not known. */
  until: number | null
  taskIds: TaskId[]
  /** The limit that is reached; of several rates, the one that allows a start last. */
  limit?: LimitFacts
}

export function findReason(facts: WaitFacts): WaitingReason {
  return (
    haltedSequence(facts) ??
    pause(facts) ??
    runTime(facts) ??
    noWorker(facts) ??
    backoff(facts) ??
    sequence(facts) ??
    limit(facts) ??
    rate(facts) ?? { code: 'turn', text: '', until: null, taskIds: [] }
  )
}

function haltedSequence({ sequence }: WaitFacts): WaitingReason | undefined {
  if (!sequence?.isHalted) return undefined
  const text = `its sequence is halted: the task ${sequence.firstId} has ${sequence.firstStatus === 'EXPIRED' ? 'expired' : 'failed'}`
  return { code: 'sequence_halted', text, until: null, taskIds: [sequence.firstId] }
}

function pause({ pause, dueAt }: WaitFacts): WaitingReason | undefined {
  if (pause === null || (pause.until !== null && dueAt !== null && pause.until <= dueAt)) return undefined
  return { code: 'paused', text: describePause(pause), until: pause.until, taskIds: [] }
}

function describePause({ kind, name, setBy, reason, until }: PauseFacts): string {
  const end = until === null ? '' : ` until ${toInstant(until)}`
  return `the ${kind} ${quote(name)} is paused by ${quote(setBy)}${end}${reason === null ? '' : `: ${reason}`}`
}

/** Keys and tenants may have any name: one with blanks or quotes is quoted, so that its ends are seen. */
function quote(name: string): string {
  return /^[\p{L}\p{N}\p{M}._:@/+-]+$/u.test(name) ? name : JSON.stringify(name)
}

function runTime({ status, dueAt }: WaitFacts): WaitingReason | undefined {
  if (status !== 'SCHEDULED' || dueAt === null) return undefined
  return { code: 'run_time', text: `it is to start at ${toInstant(dueAt)}`, until: dueAt, taskIds: [] }
}

function noWorker({ slots, isTypeKnown, queue, type }: WaitFacts): WaitingReason | undefined {
  if (slots === 0)
    return {
      code: 'no_worker_for_queue',
      text: `no worker that takes tasks serves the queue ${queue}`,
      until: null,
      taskIds: [],
    }
  if (isTypeKnown) return undefined
  const text = `no worker that takes tasks of the queue ${queue} knows the type ${type}`
  return { code: 'no_worker_for_type', text, until: null, taskIds: [] }
}

function backoff({ dueAt, attempt }: WaitFacts): WaitingReason | undefined {
  if (dueAt === null) return undefined
  return { code: 'backoff', text: `attempt ${attempt + 1} is due at ${toInstant(dueAt)}`, until: dueAt, taskIds: [] }
}

function sequence({ sequence }: WaitFacts): WaitingReason | undefined {
  if (sequence === null) return undefined
  const text = `the task ${sequence.firstId} is first in its sequence`
  return { code: 'sequence', text, until: null, taskIds: [sequence.firstId] }
}

/** Limits of attempts at a time that are reached. */
export function findFull({ limits }: WaitFacts): LimitFacts[] {
  return limits.filter(({ allowed, held }) => allowed !== null && held >= allowed)
}

/** Rates that allow no start now. */
export function findExhausted({ limits, nowAt }: WaitFacts): LimitFacts[] {
  return limits.filter(({ nextAt }) => nextAt !== null && nextAt > nowAt)
}

function limit(facts: WaitFacts): WaitingReason | undefined {
  const [limit] = findFull(facts)
  return limit && waitForLimit(limit)
}

/** It is reached, or will be by those ahead of the task. */
export function waitForLimit(limit: LimitFacts): WaitingReason {
  return { code: 'limit', text: describeLimit(limit), until: null, taskIds: limit.heldBy, limit }
}

const EACH = { all: '', tenant: ' for each tenant', key: ' for each key' }

function describeLimit({ name, allowed, per, isRamp }: LimitFacts): string {
  if (isRamp) return `tasks start slowly after a pause: ${allowed ?? 0} at a time now`
  return `the limit ${name} allows ${allowed ?? 0} at a time${EACH[per]}`
}

function rate(facts: WaitFacts): WaitingReason | undefined {
  const [limit] = findExhausted(facts).sort((a, b) => (b.nextAt ?? 0) - (a.nextAt ?? 0))
  if (limit === undefined) return undefined
  const { name, rate, periodMs, per } = limit
  const text = `the limit ${name} allows ${rate ?? 0} ${rate === 1 ? 'start' : 'starts'} in ${describePeriod(periodMs ?? 0)}${EACH[per]}`
  return { code: 'rate', text, until: limit.nextAt, taskIds: [], limit }
}

const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
  ['millisecond', 1],
] as const

function describePeriod(periodMs: number): string {
  const [unit, unitMs] = UNITS.find(([, unitMs]) => periodMs >= unitMs && periodMs % unitMs === 0) ?? ['millisecond', 1]
  const count = periodMs / unitMs
  return count === 1 ? `a ${unit}`.replace('a hour', 'an hour') : `${count} ${unit}s`
}

/** Any time that can be stored: `infinity`, for example, becomes the last instant there is. */
export function toInstant(at: number): string {
  return new Date(Math.min(Math.max(at, Date.parse(FIRST_INSTANT)), Date.parse(LAST_INSTANT))).toISOString()
}
