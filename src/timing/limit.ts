/** Bounds concurrency. */

/** Admits at most `most` calls at a time. The others wait and are admitted in order of arrival. */
export class Limit {
  readonly #most: number
  readonly #waiting = new Set<() => void>()
  readonly #onIdle: (() => void)[] = []
  #underWay = 0

  constructor(most: number) {
    this.#most = most
  }

  get underWay(): number {
    return this.#underWay
  }

  /**
   * Calls `work` when admitted.
   * @param signal ends the wait for admission; running work is not affected
   * @throws what `work` throws; the signal's reason when it aborts while waiting
   */
  async run<Answer>(work: () => Promise<Answer>, signal?: AbortSignal): Promise<Answer> {
    if (this.#underWay < this.#most) this.#underWay += 1
    else await this.#waitForTurn(signal)
    try {
      return await work()
    } finally {
      this.#leave()
    }
  }

  /** Resolves when no call is running, and so none is waiting. */
  async whenIdle(): Promise<void> {
    while (this.#underWay > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve))
  }

  async #waitForTurn(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    await new Promise<void>((resolve, reject) => {
      const begin = () => {
        signal?.removeEventListener('abort', giveUp)
        resolve()
      }
      const giveUp = () => {
        this.#waiting.delete(begin)
        reject(signal?.reason as Error)
      }
      this.#waiting.add(begin)
      signal?.addEventListener('abort', giveUp, { once: true })
    })
  }

  /** Admits the next waiting call. */
  #leave(): void {
    const [next] = this.#waiting
    if (next !== undefined) {
      this.#waiting.delete(next)
      return next()
    }
    this.#underWay -= 1
    if (this.#underWay === 0) this.#onIdle.splice(0).forEach((resolve) => resolve())
  }
}

/** Wraps `call` so that at most `most` calls run at a time. */
export function limitUnderWay<Args extends unknown[], Answer>(
  most: number,
  call: (...args: Args) => Promise<Answer>,
): (...args: Args) => Promise<Answer> {
  const limit = new Limit(most)
  return (...args) => limit.run(() => call(...args))
}
