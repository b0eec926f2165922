/**
 * How a run ended, and what that means for its task: "attempt failed" is not "task failed". Decided here and nowhere else, for
 * workers and for the test kit.
 */
import type { FailureCode } from '../protocol/task.js'
import { toStorableText } from '../protocol/text.js'
import { backoffMs, boundDelay, DEFAULT_BACKOFF } from './backoff.js'
import { DatabaseAwayError, type Definition } from './definition.js'
import { DiskFullError } from './disk-floor.js'
import type { ProcessEndedError } from './isolated-run.js'
import { CancelTask, PermanentFailure, PutBack, RetryLater, UnstorableError } from './outcome-errors.js'
import type { RegisteredType } from './registry.js'
import { describeViolation, RESULT_LIMITS, toStorable } from './storable.js'
import { NO_WORKER_FOR_TYPE, type ClaimedAttempt, type Settlement, type TypeWait } from './store/index.js'
import { describeError, MAX_REASON_LENGTH, toReadable } from './thrown.js'

/** Why a run was asked to end: the reason of its signal. */
export type AbortReason = 'shutdown' | 'lease lost' | 'cancelled' | 'time limit' | 'failed'

/** How a run ended, as far as it is still to be recorded. */
export type Outcome =
  | { kind: 'completed'; result: unknown }
  | { kind: 'failed'; code: FailureCode; thrown: unknown }
  /** Put back without a failure; at once when `retryInMs` is left out. */
  | { kind: 'released'; reason: string; retryInMs?: number; error?: Error }
  | { kind: 'lost'; reason: string; error: Error }
  | { kind: 'cancelled'; reason: string | null }

/** Failures that another attempt would meet again. */
const PERMANENT: ReadonlySet<FailureCode> = new Set(['permanent', 'invalid_payload', 'invalid_result', 'invalid_effect', 'unknown_type', 'no_worker_for_type'])

/** What the handler has thrown, in the light of why its signal aborted. */
export function explainError(thrown: unknown, signal: AbortSignal): Outcome {
  const error = toReadable(thrown)
  if (error instanceof CancelTask) return { kind: 'cancelled', reason: toStorableText(error.message, MAX_REASON_LENGTH) || null }
  if (error instanceof UnstorableError) return fail(error.code, error)
  if (error instanceof PermanentFailure) return fail('permanent', error)
  switch (signal.aborted ? (signal.reason as AbortReason) : undefined) {
    case 'shutdown':
      return { kind: 'released', reason: 'the worker stopped; handed back' }
    case 'cancelled':
      return { kind: 'cancelled', reason: null }
    case 'time limit':
      return fail('time_limit', new Error('the run was over its time limit', { cause: error }))
  }
  if (error instanceof PutBack) return { kind: 'released', reason: describeError(error).message, retryInMs: error.delayMs }
  if (error instanceof DatabaseAwayError) return { kind: 'released', reason: 'the database went away; put back' }
  return fail(error instanceof DiskFullError ? 'disk_full' : 'error', error)
}

/**
 * This worker has no handler for the type. Another may have one, or will, in a rolling deploy: the task is put back, with a pause
 * that grows from a second to ten, until the window is over.
 */
export function explainNoHandler(type: string, { count, waitedMs }: TypeWait, windowMs: number): Outcome {
  const error = new Error(`the worker has no handler for the type ${type}. Start one with the folder of tasks that has it (--tasks).`)
  error.name = NO_WORKER_FOR_TYPE
  if (waitedMs >= windowMs) return fail('no_worker_for_type', error)
  // Half to one and a half of it, so that many tasks do not come back together.
  const retryInMs = Math.min(1_000 * 2 ** Math.min(count, 10), 10_000) * (0.5 + Math.random())
  return { kind: 'released', reason: 'no_worker_for_type', error, retryInMs }
}

/** Of a process that other attempts have used before, it is not certain which of them ended it: the next attempt gets a new one. */
export function explainProcessEnd(error: ProcessEndedError): Outcome {
  if (error.isProven) return fail(error.code, error)
  return { kind: 'lost', reason: 'its process ended, which others had used before; put back, to run alone', error }
}

/** What is asked of an attempt to judge its outcome. */
export type Judged = Pick<ClaimedAttempt, 'id' | 'attempt' | 'failures' | 'maxAttempts'>

/** What this result would mean for the task. */
export function judgeReturned(claimed: Judged, registered: RegisteredType, returned: unknown): Settlement {
  return judge(claimed, checkResult(registered, returned), registered.definition)
}

export function checkResult(registered: RegisteredType, returned: unknown): Outcome {
  const stored = toStorable(returned, RESULT_LIMITS)
  const violation = stored.violation ?? registered.checkResult(stored.value)[0]
  if (violation !== undefined) return fail('invalid_result', new UnstorableError('invalid_result', `the result does not fit: ${describeViolation(violation)}`))
  return { kind: 'completed', result: stored.value }
}

export function fail(code: FailureCode, thrown: unknown): Outcome {
  return { kind: 'failed', code, thrown }
}

/** What the outcome of the attempt means for the task. */
export function judge(claimed: Judged, outcome: Outcome, definition: Definition | undefined): Settlement {
  const ref = { taskId: claimed.id, attempt: claimed.attempt }
  switch (outcome.kind) {
    case 'completed':
      return { ...ref, outcome: 'completed', status: 'COMPLETED', reason: null, result: outcome.result }
    case 'failed':
      return { ...ref, outcome: 'failed', ...judgeFailure(claimed, outcome, definition) }
    case 'released':
      return { ...ref, outcome: 'released', reason: outcome.reason, ...whenReleased(outcome.retryInMs), ...(outcome.error && { error: describeError(outcome.error) }) }
    case 'lost':
      return { ...ref, outcome: 'lost', status: 'PENDING', reason: outcome.reason, error: describeError(outcome.error) }
    case 'cancelled':
      return { ...ref, outcome: 'cancelled', status: 'CANCELLED', reason: outcome.reason }
  }
}

function whenReleased(retryInMs: number | undefined): Pick<Settlement, 'status' | 'retryInMs'> {
  return retryInMs === undefined ? { status: 'PENDING' } : { status: 'RETRYING', retryInMs: boundDelay(retryInMs) }
}

/** Another attempt, or the end. */
function judgeFailure(
  { attempt, failures, maxAttempts }: Judged,
  { code, thrown }: Extract<Outcome, { kind: 'failed' }>,
  definition: Definition | undefined,
): Pick<Settlement, 'status' | 'reason' | 'error' | 'retryInMs' | 'failure'> {
  const error = describeError(thrown)
  const isWorthIt = !PERMANENT.has(code) && (thrown instanceof RetryLater || isRetryable(definition, thrown))
  if (failures + 1 >= maxAttempts || !isWorthIt) {
    return { status: 'FAILED', reason: error.message, failure: { code, message: error.message, attempt }, error }
  }
  const retryInMs = thrown instanceof RetryLater ? boundDelay(thrown.delayMs) : backoffMs(definition?.backoff ?? DEFAULT_BACKOFF, failures + 1, thrown)
  return { status: 'RETRYING', reason: error.message, error, retryInMs }
}

/** A definition that fails to judge is no reason to give up. */
function isRetryable(definition: Definition | undefined, thrown: unknown): boolean {
  try {
    return definition?.retryOn?.(thrown) ?? true
  } catch {
    return true
  }
}

/**
 * The settlement that takes the place of one whose values PostgreSQL refused: the attempt has failed for good, and says why.
 * @param refused what PostgreSQL said
 */
export function settleRefused({ taskId, attempt, outcome }: Settlement, refused: unknown): Settlement {
  const error = describeError(refused)
  const message = toStorableText(`PostgreSQL refused what the attempt was to record (${outcome}): ${error.message}`, MAX_REASON_LENGTH)
  return { taskId, attempt, outcome: 'failed', status: 'FAILED', reason: message, failure: { code: 'invalid_result', message, attempt }, error: { ...error, message } }
}
