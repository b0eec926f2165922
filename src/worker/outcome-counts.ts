/**
 * Counts how attempts of each type end in this worker, for the breaker (`relay/break.ts`): the heartbeat carries the
 * counts.
 *
 * A count covers up to a minute. It begins anew after that, and after a quiet time: a type that was paused meanwhile is
 * judged by what happens after its pause.
 */
import type { TypeOutcomes } from '../protocol/worker.js'
import type { Settlement } from '../store/attempts/settle.js'

const WINDOW_MS = 60_000
const QUIET_MS = 20_000
/** Most types reported; those with the most failures. */
const MAX_TYPES = 50
/** Most reasons kept for a type: more than that, and no reason explains nearly all failures. */
const MAX_REASONS = 20
const MAX_REASON_LENGTH = 200

interface Count {
  since: number
  lastAt: number
  ended: number
  failures: Map<string, number>
}

/** Failures that are about the task itself, not about what its handler needs. */
const OWN_FAULTS: ReadonlySet<string | undefined> = new Set([
  'permanent',
  'invalid_payload',
  'invalid_result',
  'invalid_effect',
  'put_back',
  'no_worker_for_type',
])

export class OutcomeCounts {
  readonly #counts = new Map<string, Count>()
  readonly #now: () => number

  /** @param now milliseconds, never going back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  add(type: string, { outcome, failure, reason }: Pick<Settlement, 'outcome' | 'failure' | 'reason'>): void {
    if (outcome !== 'completed' && outcome !== 'failed') return
    const count = this.#current(type)
    count.ended += 1
    count.lastAt = this.#now()
    if (outcome === 'completed' || OWN_FAULTS.has(failure?.code)) return
    const kind = toKind(reason ?? 'unknown')
    if (count.failures.has(kind) || count.failures.size < MAX_REASONS)
      count.failures.set(kind, (count.failures.get(kind) ?? 0) + 1)
  }

  /** The counts of types with failures. */
  read(): TypeOutcomes[] {
    return [...this.#counts.keys()]
      .map((type) => ({ type, ...this.#current(type) }))
      .flatMap(({ type, since, ended, failures }) => {
        const [most] = [...failures].sort(([, a], [, b]) => b - a)
        const ageMs = this.#now() - since
        return most === undefined ? [] : [{ type, ageMs, ended, reason: most[0], failed: most[1] }]
      })
      .sort((a, b) => b.failed - a.failed)
      .slice(0, MAX_TYPES)
  }

  #current(type: string): Count {
    const now = this.#now()
    const known = this.#counts.get(type)
    if (known !== undefined && now - known.since < WINDOW_MS && now - known.lastAt < QUIET_MS) return known
    const count = { since: now, lastAt: now, ended: 0, failures: new Map<string, number>() }
    this.#counts.set(type, count)
    return count
  }
}

/** Numbers differ between errors of one kind: ports, ids, durations. */
function toKind(reason: string): string {
  return reason.replace(/\d+/g, '#').slice(0, MAX_REASON_LENGTH)
}
