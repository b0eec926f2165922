/** `ctx.once`: effects outside the database, each recorded with the task under its key. */
import type { Database } from '../../../db/database.js'
import { isRefusedForGood } from '../../../db/refused-data.js'
import { UnstorableError } from '../../../definitions/outcome-errors.js'
import { toStorableText } from '../../../protocol/text.js'
import { findEffect, recordEffect, type EffectRecord } from '../../../store/attempts/effects.js'
import { describeLostValue, EFFECT_LIMITS, toStorable } from '../storable.js'
import type { AttemptFence } from './attempt-fence.js'
import { EffectCalls } from './effect-calls.js'

type Effect<Value> = (options: { idempotencyKey: string }) => Promise<Value>

export class Effects {
  readonly #db: Database
  readonly #fence: AttemptFence
  readonly #calls = new EffectCalls()

  constructor(db: Database, fence: AttemptFence) {
    this.#db = db
    this.#fence = fence
  }

  /** See `TaskContext.once`. */
  async once<Value>(key: string, effect: Effect<Value>): Promise<Value> {
    return (await this.#calls.share(key, effect, () => this.#do(key, effect))) as Value
  }

  async #do(key: string, effect: Effect<unknown>): Promise<unknown> {
    const fence = this.#fence
    const known = await fence.whenDatabaseAnswers(() => findEffect(this.#db, fence.ref, key))
    if (!known.isCurrent) throw fence.leaseLost()
    if (known.failure !== null) throw new UnstorableError('invalid_effect', known.failure)
    if (known.isRecorded) return known.value
    const stored = toStorable(await effect({ idempotencyKey: `${fence.ref.taskId}:${key}` }), EFFECT_LIMITS)
    const recorded = await this.#record(
      key,
      stored.violation ? { failure: describeLostValue(key, stored.violation) } : stored,
    )
    if ('failure' in recorded) throw new UnstorableError('invalid_effect', recorded.failure)
    await fence.assertCurrent()
    return recorded.value
  }

  /** The effect has happened, so while PostgreSQL is away the record is retried. */
  async #record(key: string, record: EffectRecord): Promise<EffectRecord> {
    try {
      await this.#fence.whenDatabaseAnswers(() => recordEffect(this.#db, this.#fence.ref, key, record))
      return record
    } catch (error) {
      if (!isRefusedForGood(error) || 'failure' in record) throw error
      return this.#record(key, {
        failure: describeLostValue(key, { pointer: '', detail: toStorableText((error as Error).message, 500) }),
      })
    }
  }
}
