/** What a handler throws to say more than "this attempt failed". Anything else that it throws fails the attempt, to be tried again. */

/** Fails the attempt and sets when the next begins, instead of the backoff of the type. */
export class RetryLater extends Error {
  override readonly name = 'RetryLater'
  /** @param delayMs milliseconds from now, 0 or more */
  constructor(
    readonly delayMs: number,
    message = 'to be tried again later',
    options?: ErrorOptions,
  ) {
    if (!(delayMs >= 0)) throw new RangeError('RetryLater takes milliseconds, 0 or more')
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
