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

/**
 * Ends the attempt without counting it as a failure: the task runs again after the pause, and has as many attempts left as
 * before. For a run that could not begin its work, because something that it needs is busy. The author of the handler sees
 * to it that this does not go on for ever.
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
    if (!(delayMs >= 0)) throw new RangeError('PutBack takes milliseconds, 0 or more')
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
