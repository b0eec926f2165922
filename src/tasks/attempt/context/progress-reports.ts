/** `ctx.progress`: what a handler reports becomes what is stored and shown. */
import type { Registry } from '../../../definitions/registry.js'
import { MAX_PROGRESS_MESSAGE_LENGTH } from '../../../protocol/limits.js'
import { toStorableText } from '../../../protocol/text.js'
import type { AttemptRef, ClaimedAttempt } from '../../../store/attempts/claim.js'
import type { Recorder } from '../recorder.js'
import { describeViolation, toStorable } from '../storable.js'
import { createPaceMeter } from './pace.js'

const DATA_LIMITS = { maxBytes: 2_048, maxDepth: 16 }

interface ProgressDeps {
  registry: Registry
  recorder: Pick<Recorder, 'progress'>
  /** Called at each heartbeat. */
  alive(): void
  /** Writes a warning to the log of the task. */
  warn(message: string): void
}

export class ProgressReports {
  readonly #ref: AttemptRef
  readonly #type: string
  readonly #deps: ProgressDeps
  readonly #measurePace = createPaceMeter()
  #hasComplained = false

  constructor({ id: taskId, attempt, type }: ClaimedAttempt, deps: ProgressDeps) {
    this.#ref = { taskId, attempt }
    this.#type = type
    this.#deps = deps
  }

  /** See `TaskContext.progress`. */
  report(done: number, total: number | undefined, message: string | undefined, data: unknown): void {
    if (!isCount(done) || (total !== undefined && !isCount(total)))
      throw new RangeError('done and total of a progress report must be finite numbers of 0 or more')
    const fraction = total === undefined ? null : total === 0 ? 1 : Math.min(done / total, 1)
    const text = message === undefined ? null : toStorableText(message, MAX_PROGRESS_MESSAGE_LENGTH)
    this.#deps.alive()
    this.#deps.recorder.progress({
      ...this.#ref,
      progress: {
        fraction,
        done,
        total: total ?? null,
        message: text,
        ...this.#readData(data),
        ...this.#measurePace(done, total),
      },
    })
  }

  /** Empty when the data does not fit: progress is a hint and must not fail the task. */
  #readData(data: unknown): { data?: unknown } {
    if (data === undefined) return {}
    const stored = toStorable(data, DATA_LIMITS)
    const violation = stored.violation ?? this.#deps.registry.find(this.#type)?.checkProgress(stored.value)[0]
    if (violation === undefined) return { data: stored.value }
    if (!this.#hasComplained)
      this.#deps.warn(`the data of a progress report is left out: ${describeViolation(violation)}`)
    this.#hasComplained = true
    return {}
  }
}

/** PostgreSQL's jsonb has no NaN and no infinity. */
function isCount(value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && Number.isFinite(value)
}
