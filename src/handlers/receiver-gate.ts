/**
 * Decides whether a receiver (host and port) may be called now, so that an unresponsive one harms no other. Its state
 * is in the memory of one worker process: each worker learns on its own, and a restart forgets everything.
 *
 * - **Limit.** A receiver that is new, or failed its last call, may occupy a few slots, and all such receivers together
 *   half of the slots. Each success in a row allows one more, up to a quarter. So a worker that meets many tarpits at
 *   once still has slots for receivers that answer.
 * - **Above the limit.** Calls to a receiver that answers wait for a moment, first come, first served. All others end
 *   with `PutBack`: the task gives up its slot, runs again later, and loses no attempt. The delay equals the time that
 *   the receiver has kept its oldest call waiting.
 * - **Circuit breaker.** After a number of failures in a row the receiver is not called for a while, and every call
 *   ends with `PutBack`. Then one call is let through: if it succeeds the circuit closes; if it fails the next delay is
 *   twice as long.
 *
 * A call aborted by its own task says nothing about the receiver, and neither does a `PermanentFailure` or an address
 * that is not allowed.
 *
 * @see https://martinfowler.com/bliki/CircuitBreaker.html
 */
import { PermanentFailure, PutBack } from '../definitions/outcome-errors.js'
import { AddressRefusedError } from './address-guard.js'

export interface ReceiverGateOptions {
  /** How many calls to all receivers this process may have in progress. Default 128. */
  slots?: number | undefined
  /** The number of failures in a row after which a receiver is not called for a while. Default: never. */
  failuresToOpen?: number
  /** The first delay of an open circuit, in milliseconds; doubled with each failed probe. Default 5 s. */
  firstPauseMs?: number
  /** The longest delay, in milliseconds. Default half an hour. */
  maxPauseMs?: number
  /** A monotonic clock, in milliseconds. */
  now?: () => number
}

export interface ReceiverCall<Answer> {
  /** The address to call: its host and port identify the receiver. */
  url: URL
  /** The signal of the task. */
  signal: AbortSignal
  send(): Promise<Answer>
  /** Whether this answer counts as a failure of the receiver. Default: no answer does. */
  isFailure?(answer: Answer): boolean
}

/** How long a call waits for a receiver that answers. */
const PATIENCE_MS = 1_000
/** Limits of the delay of a call that is put back. */
const PUT_BACK_MS = { least: 1_000, most: 60_000 }
/** The maximum number of remembered receivers; beyond that the one called least recently is forgotten. */
const MAX_RECEIVERS = 10_000

/** A call in progress. */
interface Running {
  readonly startedAt: number
  readonly isUnproven: boolean
}

interface Receiver {
  readonly name: string
  /** The oldest first. */
  readonly running: Set<Running>
  /** Each resolves with a slot, or with undefined if it has waited long enough. */
  readonly waiting: Set<(slot: Running | undefined) => void>
  /** In a row. */
  successes: number
  /** In a row. */
  failures: number
  /** The end of the delay; null while the circuit is closed. */
  openUntil: number | null
  pauseMs: number
}

export class ReceiverGate {
  readonly #breaker: { failuresToOpen: number; firstPauseMs: number; maxPauseMs: number }
  readonly #bounds: { first: number; most: number; unproven: number }
  readonly #now: () => number
  readonly #receivers = new Map<string, Receiver>()
  #unproven = 0

  constructor({
    slots = 128,
    failuresToOpen = Infinity,
    firstPauseMs = 5_000,
    maxPauseMs = 1_800_000,
    now = () => performance.now(),
  }: ReceiverGateOptions = {}) {
    const part = (divisor: number) => Math.max(Math.floor(slots / divisor), 1)
    this.#breaker = { failuresToOpen, firstPauseMs, maxPauseMs }
    this.#bounds = { first: part(32), most: part(4), unproven: part(2) }
    this.#now = now
  }

  /**
   * @throws PutBack if the receiver may not be called now; the signal's reason if it aborts before the call; the errors
   *   of `send`
   */
  async call<Answer>({ url, signal, send, isFailure = () => false }: ReceiverCall<Answer>): Promise<Answer> {
    signal.throwIfAborted()
    const receiver = this.#find(url)
    const slot = this.#mayStart(receiver) ? this.#start(receiver) : await this.#waitForSlot(receiver, signal)
    if (slot === undefined) throw this.#putBack(receiver)
    try {
      signal.throwIfAborted()
      const answer = await send()
      this.#learn(receiver, isFailure(answer))
      return answer
    } catch (error) {
      const isNeutral = signal.aborted || error instanceof AddressRefusedError || error instanceof PermanentFailure
      if (!isNeutral) this.#learn(receiver, true)
      throw error
    } finally {
      this.#end(receiver, slot)
    }
  }

  #find(url: URL): Receiver {
    const name = `${url.hostname}:${url.port || (url.protocol === 'https:' ? 443 : 80)}`
    const receiver = this.#receivers.get(name) ?? {
      name,
      running: new Set(),
      waiting: new Set(),
      successes: 0,
      failures: 0,
      openUntil: null,
      pauseMs: this.#breaker.firstPauseMs,
    }
    // Moved to the end: the receivers in front were called least recently.
    this.#receivers.delete(name)
    this.#receivers.set(name, receiver)
    if (this.#receivers.size > MAX_RECEIVERS) this.#forgetOldest()
    return receiver
  }

  #forgetOldest(): void {
    for (const { name, running, waiting } of this.#receivers.values()) {
      if (running.size + waiting.size > 0) continue
      this.#receivers.delete(name)
      return
    }
  }

  #mayStart({ successes, running, openUntil }: Receiver): boolean {
    // When the delay is over, one call is the probe.
    if (openUntil !== null) return this.#now() >= openUntil && running.size === 0
    if (successes === 0 && this.#unproven >= this.#bounds.unproven) return false
    return running.size < Math.min(this.#bounds.first + successes, this.#bounds.most)
  }

  #start(receiver: Receiver): Running {
    const slot = { startedAt: this.#now(), isUnproven: receiver.successes === 0 }
    receiver.running.add(slot)
    if (slot.isUnproven) this.#unproven += 1
    return slot
  }

  #end(receiver: Receiver, slot: Running): void {
    receiver.running.delete(slot)
    if (slot.isUnproven) this.#unproven -= 1
    for (const take of receiver.waiting) {
      if (receiver.successes > 0 && !this.#mayStart(receiver)) return
      receiver.waiting.delete(take)
      // Calls do not wait for a receiver that has just failed.
      take(receiver.successes > 0 ? this.#start(receiver) : undefined)
    }
  }

  async #waitForSlot(receiver: Receiver, signal: AbortSignal): Promise<Running | undefined> {
    if (receiver.successes === 0 || receiver.waiting.size >= this.#bounds.most) return undefined
    return new Promise((resolve) => {
      const take = (slot: Running | undefined) => {
        clearTimeout(timer)
        signal.removeEventListener('abort', giveUp)
        receiver.waiting.delete(take)
        resolve(slot)
      }
      const giveUp = () => take(undefined)
      const timer = setTimeout(giveUp, PATIENCE_MS)
      signal.addEventListener('abort', giveUp, { once: true })
      receiver.waiting.add(take)
    })
  }

  #learn(receiver: Receiver, hasFailed: boolean): void {
    if (!hasFailed) {
      Object.assign(receiver, {
        successes: receiver.successes + 1,
        failures: 0,
        openUntil: null,
        pauseMs: this.#breaker.firstPauseMs,
      })
      return
    }
    receiver.successes = 0
    receiver.failures += 1
    const now = this.#now()
    // A call that started before the circuit opened is not a probe: its failure does not extend the delay.
    if (receiver.failures < this.#breaker.failuresToOpen || now < (receiver.openUntil ?? 0)) return
    receiver.openUntil = now + receiver.pauseMs
    receiver.pauseMs = Math.min(receiver.pauseMs * 2, this.#breaker.maxPauseMs)
  }

  #putBack({ name, running, openUntil, failures }: Receiver): PutBack {
    const now = this.#now()
    const [oldest] = running
    const waitedMs = Math.min(Math.max(now - (oldest?.startedAt ?? now), PUT_BACK_MS.least), PUT_BACK_MS.most)
    // Spread, so that calls put back together do not return together.
    const spreadMs = waitedMs * Math.random()
    if (openUntil !== null && now < openUntil) {
      return new PutBack(
        openUntil - now + spreadMs,
        `${name} failed the last ${failures} calls; it is called again after a pause`,
      )
    }
    return new PutBack(waitedMs + spreadMs, `calls to ${name} under way: ${running.size}; this one waits for its turn`)
  }
}
