/** What a handler throws to say more than "this attempt failed". Anything else that it throws fails the attempt, to be tried again. */

import { describeDelay, isDelay } from './backoff.js'

/** Fails the attempt and sets when the next begins, instead of the backoff of the type. */
export class RetryLater extends Error {
  override readonly name = 'RetryLater'
  /**
   * @param delayMs milliseconds from now, 0 or more; at most 30 days are waited
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
 * Ends the attempt without counting it as a failure: the task runs again after the pause, and has as many attempts left as
 * before. For a run that could not begin its work, because something that it needs is busy.
 *
 * The pause is a second at least, and a twentieth of the time that the task has been put back for: so one that asks for no pause does not spin. A
 * task that is put back for longer than the type's `putBackLimitMs` (default 7 days), without an attempt that fails in between, is FAILED (`put_back`).
 */
export class PutBack extends Error {
  override readonly name = 'PutBack'
  /**
   * @param delayMs milliseconds from now, 0 or more; at most 30 days are waited
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

/** Fails the task, whatever attempts it has left: trying again would not help. */
export class PermanentFailure extends Error {
  override readonly name = 'PermanentFailure'
}

/**
 * A value that cannot be stored; see `storable.ts`. Thrown by the context, not by handlers. Fails the task: another attempt would do the
 * work again and meet the same.
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
  if (!isDelay(delayMs)) throw new RangeError(`${name} takes milliseconds from now, a finite number of 0 or more, not ${describeDelay(delayMs)}`)
}
