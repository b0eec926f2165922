/**
 * How a run ended, and what follows for its task: "attempt failed" is not "task failed". Decided only here, for workers
 * and for the test kit.
 */
import { DiskFullError } from '../../artifacts/disk-floor.js'
import type { AttemptError } from '../../db/attempts-schema.js'
import { backoffMs, capDelay, DEFAULT_BACKOFF, describeDelay, isDelay, type Warn } from '../../definitions/backoff.js'
import { DatabaseAwayError, type Definition } from '../../definitions/definition.js'
import { CancelTask, PermanentFailure, PutBack, RetryLater, UnstorableError } from '../../definitions/outcome-errors.js'
import type { RegisteredType } from '../../definitions/registry.js'
import { describeError, MAX_REASON_LENGTH, toReadable } from '../../definitions/thrown.js'
import type { FailureCode } from '../../protocol/task.js'
import { toStorableText } from '../../protocol/text.js'
import type { ClaimedAttempt } from '../../store/attempts/claim.js'
import { NO_WORKER_FOR_TYPE, PUT_BACK, type PutBackWait } from '../../store/attempts/put-back-waits.js'
import type { Settlement } from '../../store/attempts/settle.js'
import type { ProcessEndedError } from './isolated-run.js'
import { describeViolation, RESULT_LIMITS, toStorable } from './storable.js'

/** Why a run was asked to end: the reason of its signal. */
export type AbortReason = 'shutdown' | 'lease lost' | 'cancelled' | 'time limit' | 'failed'

/** How a run ended, if that is still to be recorded. */
export type Outcome =
  | { kind: 'completed'; result: unknown }
  | { kind: 'failed'; code: FailureCode; thrown: unknown }
  /** Put back without a failure; at once when `retryInMs` is missing. */
  | { kind: 'released'; reason: string; retryInMs?: number; error?: Error }
  | { kind: 'lost'; reason: string; error: Error }
  | { kind: 'cancelled'; reason: string | null }

/** How long a task may be put back repeatedly; see `Definition.putBackLimitMs`. */
const DEFAULT_PUT_BACK_LIMIT_MS = 7 * 86_400_000
/** The shortest pause of a task that is put back. */
const PUT_BACK_LEAST_MS = 1_000
/** A pause is at least this fraction of the time for which the task has been put back. */
const PUT_BACK_SHARE = 20

/** Failures that would recur in another attempt. */
const PERMANENT: ReadonlySet<FailureCode> = new Set([
  'permanent',
  'invalid_payload',
  'invalid_result',
  'invalid_effect',
  'unknown_type',
  'no_worker_for_type',
  'put_back',
])

/** The outcome for an error thrown by the handler, considering why its signal aborted. */
export function explainError(thrown: unknown, signal: AbortSignal): Outcome {
  const error = toReadable(thrown)
  if (error instanceof CancelTask)
    return { kind: 'cancelled', reason: toStorableText(error.message, MAX_REASON_LENGTH) || null }
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
  if (error instanceof PutBack)
    return { kind: 'released', reason: describeError(error).message, retryInMs: error.delayMs, error }
  if (error instanceof DatabaseAwayError) return { kind: 'released', reason: 'the database went away; put back' }
  return fail(error instanceof DiskFullError ? 'disk_full' : 'error', error)
}

/**
 * This worker has no handler for the type, but another worker may, e.g. during a rolling deploy. The task is put back,
 * with a pause that grows from one second to ten, until the window is over.
 */
export function explainNoHandler(type: string, { count, waitedMs }: PutBackWait, windowMs: number): Outcome {
  const error = new Error(
    `the worker has no handler for the type ${type}. Start a worker with the folder of tasks that defines it (--tasks).`,
  )
  error.name = NO_WORKER_FOR_TYPE
  if (waitedMs >= windowMs) return fail('no_worker_for_type', error)
  // Between half and one and a half of the pause, so that many tasks do not come back together.
  const retryInMs = Math.min(1_000 * 2 ** Math.min(count, 10), 10_000) * (0.5 + Math.random())
  return { kind: 'released', reason: 'no_worker_for_type', error, retryInMs }
}

/**
 * Limits a handler that keeps putting its task back: the pause grows with the time spent so, and in the end the task
 * fails.
 * @param waited before this attempt
 */
export function limitPutBack(
  outcome: Outcome,
  { count, waitedMs }: PutBackWait,
  limitMs = DEFAULT_PUT_BACK_LIMIT_MS,
  warn: Warn = () => {},
): Outcome {
  if (!isPutBack(outcome)) return outcome
  const { reason, error } = outcome
  if (count > 0 && waitedMs >= limitMs) {
    const message = `put back ${count + 1} times over ${describeDuration(waitedMs)} without doing its work, which is the limit (putBackLimitMs); the last time: ${reason}`
    warn(message)
    return fail('put_back', new Error(message, { cause: error }))
  }
  const askedMs = isDelay(error.delayMs) ? error.delayMs : 0
  const leastMs = Math.max(PUT_BACK_LEAST_MS, waitedMs / PUT_BACK_SHARE)
  if (askedMs >= leastMs) return { ...outcome, retryInMs: askedMs }
  // Warn at the first, second, fourth, eighth … time in a row.
  if (Number.isInteger(Math.log2(count + 1)))
    warn(
      `the handler put its task back for ${askedMs} ms, ${count + 1} times in a row; the pause is at least ${Math.round(leastMs)} ms, and grows`,
    )
  // With jitter, so that many tasks do not come back together.
  return { ...outcome, retryInMs: leastMs * (1 + Math.random() / 2) }
}

/** Whether the handler itself put its task back. */
export function isPutBack(outcome: Outcome): outcome is Extract<Outcome, { kind: 'released' }> & { error: PutBack } {
  return outcome.kind === 'released' && outcome.error instanceof PutBack
}

function describeDuration(ms: number): string {
  const [unit, name] = (
    [
      [86_400_000, 'days'],
      [3_600_000, 'hours'],
      [60_000, 'minutes'],
      [1_000, 'seconds'],
    ] as const
  ).find(([each]) => ms >= 2 * each) ?? [1, 'ms']
  return `${Math.floor(ms / unit)} ${name}`
}

/**
 * When other attempts have used a process before, the cause of its end is uncertain: the next attempt gets a new
 * process.
 */
export function explainProcessEnd(error: ProcessEndedError): Outcome {
  if (error.isProven) return fail(error.code, error)
  return { kind: 'lost', reason: 'its process ended, which others had used before; put back, to run alone', error }
}

/** The fields of an attempt that decide its settlement. */
export type SettledAttempt = Pick<ClaimedAttempt, 'id' | 'attempt' | 'failures' | 'maxAttempts'>

/** The settlement for this result of the handler. */
export function settleReturned(claimed: SettledAttempt, registered: RegisteredType, returned: unknown): Settlement {
  return decideSettlement(claimed, checkResult(registered, returned), registered.definition)
}

export function checkResult(registered: RegisteredType, returned: unknown): Outcome {
  const stored = toStorable(returned, RESULT_LIMITS)
  const violation = stored.violation ?? registered.checkResult(stored.value)[0]
  if (violation !== undefined)
    return fail(
      'invalid_result',
      new UnstorableError('invalid_result', `the result does not fit: ${describeViolation(violation)}`),
    )
  return { kind: 'completed', result: stored.value }
}

export function fail(code: FailureCode, thrown: unknown): Outcome {
  return { kind: 'failed', code, thrown }
}

/**
 * Decides what the outcome of the attempt means for the task.
 * @param warn called for a delay that is not used as the definition or its handler gave it
 */
export function decideSettlement(
  claimed: SettledAttempt,
  outcome: Outcome,
  definition: Definition | undefined,
  warn: Warn = () => {},
): Settlement {
  const ref = { taskId: claimed.id, attempt: claimed.attempt }
  switch (outcome.kind) {
    case 'completed':
      return { ...ref, outcome: 'completed', status: 'COMPLETED', reason: null, result: outcome.result }
    case 'failed':
      return { ...ref, outcome: 'failed', ...decideRetry(claimed, outcome, definition, warn) }
    case 'released':
      return {
        ...ref,
        outcome: 'released',
        reason: outcome.reason,
        ...whenReleased(outcome, warn),
        ...(outcome.error && { error: describeRelease(outcome.error) }),
      }
    case 'lost':
      return { ...ref, outcome: 'lost', status: 'PENDING', reason: outcome.reason, error: describeError(outcome.error) }
    case 'cancelled':
      return { ...ref, outcome: 'cancelled', status: 'CANCELLED', reason: outcome.reason }
  }
}

function whenReleased(
  { retryInMs }: Extract<Outcome, { kind: 'released' }>,
  warn: Warn,
): Pick<Settlement, 'status' | 'retryInMs'> {
  return retryInMs === undefined
    ? { status: 'PENDING' }
    : { status: 'RETRYING', retryInMs: capDelay(retryInMs, 'PutBack', warn) }
}

/**
 * The error's name counts how often the task was put back, so subclasses of PutBack are recorded under the same name.
 */
function describeRelease(error: Error): AttemptError {
  return error instanceof PutBack ? { ...describeError(error), name: PUT_BACK } : describeError(error)
}

/** Decides between another attempt and the end. */
function decideRetry(
  { attempt, failures, maxAttempts }: SettledAttempt,
  { code, thrown }: Extract<Outcome, { kind: 'failed' }>,
  definition: Definition | undefined,
  warn: Warn,
): Pick<Settlement, 'status' | 'reason' | 'error' | 'retryInMs' | 'failure'> {
  const error = describeError(thrown)
  const isWorthIt = !PERMANENT.has(code) && (thrown instanceof RetryLater || isRetryable(definition, thrown))
  if (failures + 1 >= maxAttempts || !isWorthIt) {
    return { status: 'FAILED', reason: error.message, failure: { code, message: error.message, attempt }, error }
  }
  return {
    status: 'RETRYING',
    reason: error.message,
    error,
    retryInMs: retryDelay(definition, failures + 1, thrown, warn),
  }
}

function retryDelay(definition: Definition | undefined, failures: number, thrown: unknown, warn: Warn): number {
  // The constructor refuses other delays, but the field may have been changed since.
  if (thrown instanceof RetryLater && isDelay(thrown.delayMs)) return capDelay(thrown.delayMs, 'RetryLater', warn)
  if (thrown instanceof RetryLater)
    warn(
      `RetryLater gave ${describeDelay(thrown.delayMs)} instead of a number of milliseconds, 0 or more; the backoff of the type is used`,
    )
  return backoffMs(definition?.backoff ?? DEFAULT_BACKOFF, failures, thrown, Math.random, warn)
}

/** If `retryOn` throws, the attempt is retried. */
function isRetryable(definition: Definition | undefined, thrown: unknown): boolean {
  try {
    return definition?.retryOn?.(thrown) ?? true
  } catch {
    return true
  }
}

/**
 * Replaces a settlement whose values PostgreSQL refused: the attempt fails permanently, with this reason.
 * @param refused PostgreSQL's error
 */
export function settleRefused({ taskId, attempt, outcome }: Settlement, refused: unknown): Settlement {
  const error = describeError(refused)
  const message = toStorableText(
    `PostgreSQL refused the values of the outcome (${outcome}): ${error.message}`,
    MAX_REASON_LENGTH,
  )
  return {
    taskId,
    attempt,
    outcome: 'failed',
    status: 'FAILED',
    reason: message,
    failure: { code: 'invalid_result', message, attempt },
    error: { ...error, message },
  }
}
