/**
 * `ctx.once`: effects outside the database, each recorded with the task under its key.
 *
 * Concurrent calls with the same key share one effect. So an effect that calls `once` with its own key, directly or
 * through other effects, would wait for itself: that call is refused.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Database } from '../../../db/database.js'
import { isRefusedForGood } from '../../../db/refused-data.js'
import { UnstorableError } from '../../../definitions/outcome-errors.js'
import { findUnstorable, toStorableText } from '../../../protocol/text.js'
import { findEffect, recordEffect, type EffectRecord } from '../../../store/attempts/effects.js'
import { describeLostValue, EFFECT_LIMITS, toStorable } from '../storable.js'
import type { AttemptFence } from './attempt-fence.js'

const MAX_KEY_LENGTH = 200

type Effect<Value> = (options: { idempotencyKey: string }) => Promise<Value>

/**
 * The effect that the current code belongs to. There is one storage for all attempts: up to version 22, Node keeps each
 * storage that was used until its `disable` is called, and visits all of them for every asynchronous call.
 */
const current = new AsyncLocalStorage<{ effects: Effects; key: string }>()

export class Effects {
  readonly #db: Database
  readonly #fence: AttemptFence
  readonly #underWay = new Map<string, Promise<unknown>>()
  /** For each effect under way, the keys that it has called `once` with. */
  readonly #calls = new Map<string, Set<string>>()

  constructor(db: Database, fence: AttemptFence) {
    this.#db = db
    this.#fence = fence
  }

  /** See `TaskContext.once`. */
  async once<Value>(key: string, effect: Effect<Value>): Promise<Value> {
    if (typeof key !== 'string' || key.length < 1 || key.length > MAX_KEY_LENGTH || findUnstorable(key, 1))
      throw new RangeError(`the key of an effect must be well-formed text of 1 to ${MAX_KEY_LENGTH} characters`)
    if (typeof effect !== 'function') throw new TypeError(`the effect '${key}' must be a function`)
    const caller = current.getStore()
    if (caller?.effects === this) this.#noteCall(caller.key, key)
    const running = this.#underWay.get(key) ?? this.#start(key, effect)
    return running as Promise<Value>
  }

  #start(key: string, effect: Effect<unknown>): Promise<unknown> {
    const running = current
      .run({ effects: this, key }, () => this.#do(key, effect))
      .finally(() => {
        this.#underWay.delete(key)
        this.#calls.delete(key)
      })
    this.#underWay.set(key, running)
    return running
  }

  /** @throws Error if `caller` would then wait for itself */
  #noteCall(caller: string, key: string): void {
    const reached = new Set([key])
    for (const each of reached) for (const next of this.#calls.get(each) ?? []) reached.add(next)
    if (reached.has(caller))
      throw new Error(
        `once('${key}') is called within the effect '${caller}', which would wait for itself. Use another key.`,
      )
    const calls = this.#calls.get(caller)
    if (calls) calls.add(key)
    // An effect that has ended cannot wait any more, even if some of its code still runs.
    else if (this.#underWay.has(caller)) this.#calls.set(caller, new Set([key]))
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
