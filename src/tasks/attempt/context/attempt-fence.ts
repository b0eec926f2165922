/**
 * Whether an attempt is still the current one of its task. PostgreSQL answers this, because a run that was paused does
 * not know that it is late.
 */
import type { Database } from '../../../db/database.js'
import { isUnavailable } from '../../../db/unavailable.js'
import { LeaseLostError } from '../../../definitions/definition.js'
import type { Log } from '../../../log.js'
import type { AttemptRef } from '../../../store/attempts/claim.js'
import { findEffect } from '../../../store/attempts/effects.js'
import { retry } from '../../../timing/retry.js'

const PAUSES = { firstMs: 100, maxMs: 2_000 }

export class AttemptFence {
  readonly ref: AttemptRef
  readonly #db: Database
  readonly #signal: AbortSignal
  readonly #log: Log

  /** @param signal the run is asked to end */
  constructor(ref: AttemptRef, db: Database, signal: AbortSignal, log: Log) {
    this.ref = ref
    this.#db = db
    this.#signal = signal
    this.#log = log
  }

  /** @throws LeaseLostError when the attempt is no longer the current one */
  async assertCurrent(): Promise<void> {
    const { isCurrent } = await this.whenDatabaseAnswers(() => findEffect(this.#db, this.ref, ''))
    if (!isCurrent) throw this.leaseLost()
  }

  leaseLost(): LeaseLostError {
    const { taskId, attempt } = this.ref
    return new LeaseLostError(`attempt ${attempt} is no longer the current one of task ${taskId}`)
  }

  /** Retries while PostgreSQL is away, until the run is asked to end. */
  whenDatabaseAnswers<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    return retry(ask, {
      ...PAUSES,
      // Not the signal itself: an abort during a pause leaves one more try.
      isWorthwhile: (error) => !this.#signal.aborted && isUnavailable(error),
      onRetry: (error) =>
        this.#log.warn({ err: error, ...this.ref }, 'PostgreSQL did not answer a handler; trying again'),
    })
  }
}
