/** Ends a run from outside: at its time limits, or when it ignores its signal. */
import type { TimeLimits } from '../../definitions/definition.js'
import type { Log } from '../../log.js'
import type { ClaimedAttempt } from '../../store/attempts/claim.js'
import { fail, type AbortReason, type Outcome } from './outcome.js'
import { startLimits, type RunLimits } from './run-limits.js'
import type { TrackedRun } from './tracked-run.js'

interface BoundsOptions {
  log: Log
  /** How long a handler may take to end after its task was cancelled, before it is abandoned. */
  cancelGraceMs: number
}

export class RunBounds {
  /** Settles when the run is abandoned. Undefined: another worker records the outcome. */
  readonly over: Promise<Outcome | undefined>
  readonly #claimed: ClaimedAttempt
  readonly #timeLimits: TimeLimits
  readonly #run: TrackedRun
  readonly #options: BoundsOptions
  readonly #onAbort = () => this.#startGrace()
  #resolve: (outcome: Outcome | undefined) => void = () => {}
  #grace: NodeJS.Timeout | undefined
  #limits: RunLimits | undefined

  constructor(claimed: ClaimedAttempt, timeLimits: TimeLimits, run: TrackedRun, options: BoundsOptions) {
    this.#claimed = claimed
    this.#timeLimits = timeLimits
    this.#run = run
    this.#options = options
    this.over = new Promise((resolve) => (this.#resolve = resolve))
    run.signal.addEventListener('abort', this.#onAbort, { once: true })
    if (run.signal.aborted) this.#startGrace()
  }

  /** The handler begins: starts the time limits. */
  begin(): void {
    const { hardMs, heartbeatMs } = this.#timeLimits
    this.#limits = startLimits(this.#timeLimits, {
      onSoft: () => this.#run.abort('time limit'),
      onHard: () => this.#abandon(fail('time_limit', new Error(`the run took longer than ${hardMs} ms`)), 'time limit'),
      onSilence: () =>
        this.#abandon(
          fail('no_heartbeat', new Error(`the run sent no heartbeat for ${heartbeatMs} ms`)),
          'no heartbeat',
        ),
    })
  }

  /** The run sent a heartbeat. */
  alive(): void {
    this.#limits?.alive()
  }

  /** The run is over. Must be called. */
  stop(): void {
    this.#limits?.stop()
    clearTimeout(this.#grace)
    this.#run.signal.removeEventListener('abort', this.#onAbort)
  }

  #startGrace(): void {
    const { reason } = this.#run.signal as { reason: AbortReason }
    if (reason !== 'cancelled' && reason !== 'lease lost') return
    // After a lost lease, another worker records the outcome.
    const outcome =
      reason === 'cancelled'
        ? ({ kind: 'cancelled', reason: 'the handler did not stop by itself' } as const)
        : undefined
    this.#grace = setTimeout(() => this.#abandon(outcome, 'it ignored its signal'), this.#options.cancelGraceMs)
  }

  #abandon(outcome: Outcome | undefined, why: string): void {
    const { id: taskId, attempt, type } = this.#claimed
    this.#options.log.warn({ taskId, attempt, type }, `abandoning a run: ${why}`)
    this.#resolve(outcome)
    this.#run.abort('time limit')
  }
}
