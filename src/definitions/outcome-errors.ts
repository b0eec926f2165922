/** Errors by which a handler decides what follows. Any other error fails the attempt, which is then retried. */

import { describeDelay, isDelay } from './backoff.js'

/** Fails the attempt and sets the start of the next one, instead of the type's backoff. */
export class RetryLater extends Error {
  override readonly name = 'RetryLater'
  /**
   * @param delayMs milliseconds from now, 0 or more; the pause is at most 30 days
   * @param message the reason, shown with the task
   * @throws RangeError for any other delay
   */
  constructor(
    readonly delayMs: number,
    message = 'to be tried again later',
    options?: ErrorOptions,
  ) {
    assertDelay('RetryLater', delayMs)
    super(message, options)
  }
}

/**
 * Ends the attempt without counting it as a failure. The task runs again after the pause, with as many attempts left as
 * before. For an attempt that could not begin its work because a resource is busy.
 *
 * The pause is at least a second, and at least a twentieth of the time for which the task has been put back, so that a
 * handler which asks for no pause does not spin. A task put back for longer than the type's `putBackLimitMs` (default 7
 * days), without a failed attempt in between, is FAILED (`put_back`).
 */
export class PutBack extends Error {
  override readonly name = 'PutBack'
  /**
   * @param delayMs milliseconds from now, 0 or more; the pause is at most 30 days
   * @param message the reason, shown with the task
   * @throws RangeError for any other delay
   */
  constructor(
    readonly delayMs: number,
    message = 'put back; nothing was done yet',
    options?: ErrorOptions,
  ) {
    assertDelay('PutBack', delayMs)
    super(message, options)
  }
}

/** Fails the task, whatever attempts it has left: another attempt would not help. */
export class PermanentFailure extends Error {
  override readonly name = 'PermanentFailure'
}

/**
 * A value cannot be stored; see `storable.ts`. Thrown by the context, not by handlers. Fails the task: another attempt
 * would repeat the work and fail in the same way.
 */
export class UnstorableError extends Error {
  override readonly name = 'UnstorableError'
  constructor(
    readonly code: 'invalid_result' | 'invalid_effect',
    message: string,
  ) {
    super(message)
  }
}

/** Ends the task as CANCELLED: there is nothing left to do. */
export class CancelTask extends Error {
  override readonly name = 'CancelTask'
}

function assertDelay(name: string, delayMs: unknown): void {
  if (!isDelay(delayMs))
    throw new RangeError(
      `${name} takes milliseconds from now, a finite number of 0 or more, not ${describeDelay(delayMs)}`,
    )
}
