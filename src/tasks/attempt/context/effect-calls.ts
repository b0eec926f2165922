/**
 * The calls of `ctx.once` in one attempt.
 *
 * Concurrent calls with the same key share one effect. So an effect that calls `once` with its own key, directly or
 * through other effects, would wait for itself: that call is refused.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { findUnstorable } from '../../../protocol/text.js'

const MAX_KEY_LENGTH = 200

/**
 * The effect that the current code belongs to. There is one storage for all attempts: up to version 22, Node keeps each
 * storage that was used until its `disable` is called, and visits all of them for every asynchronous call.
 */
const current = new AsyncLocalStorage<{ calls: EffectCalls; key: string }>()

export class EffectCalls {
  readonly #underWay = new Map<string, Promise<unknown>>()
  /** For each effect under way, the keys that it has called `once` with. */
  readonly #made = new Map<string, Set<string>>()

  /**
   * Calls `work`, or joins the work under way for the same key.
   * @throws RangeError for a wrong key, TypeError if `effect` is not a function, Error if the caller would wait for
   *   itself
   */
  share(key: string, effect: unknown, work: () => Promise<unknown>): Promise<unknown> {
    if (typeof key !== 'string' || key.length < 1 || key.length > MAX_KEY_LENGTH || findUnstorable(key, 1))
      throw new RangeError(`the key of an effect must be well-formed text of 1 to ${MAX_KEY_LENGTH} characters`)
    if (typeof effect !== 'function') throw new TypeError(`the effect '${key}' must be a function`)
    const caller = current.getStore()
    if (caller?.calls === this) this.#note(caller.key, key)
    return this.#underWay.get(key) ?? this.#start(key, work)
  }

  #start(key: string, work: () => Promise<unknown>): Promise<unknown> {
    // The work begins a turn later, when it already counts as under way.
    const begun = current.run({ calls: this, key }, () => Promise.resolve().then(work))
    const running = begun.finally(() => {
      this.#underWay.delete(key)
      this.#made.delete(key)
    })
    this.#underWay.set(key, running)
    return running
  }

  /** @throws Error if `caller` would then wait for itself */
  #note(caller: string, key: string): void {
    const reached = new Set([key])
    for (const each of reached) for (const next of this.#made.get(each) ?? []) reached.add(next)
    if (reached.has(caller))
      throw new Error(
        `once('${key}') is called within the effect '${caller}', which would wait for itself. Use another key.`,
      )
    const made = this.#made.get(caller)
    if (made) made.add(key)
    // An effect that has ended cannot wait any more, even if some of its code still runs.
    else if (this.#underWay.has(caller)) this.#made.set(caller, new Set([key]))
  }
}
