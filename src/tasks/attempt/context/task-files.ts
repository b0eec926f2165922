/** The files of a task: `ctx.artifact`, `ctx.removeArtifact` and `ctx.readArtifact`. */
import type { Readable, Writable } from 'node:stream'
import { validate as isUuid } from 'uuid'
import type { Principal } from '../../../access/principal.js'
import type { ArtifactStore } from '../../../artifacts/artifact-store.js'
import type { Database } from '../../../db/database.js'
import { PermanentFailure } from '../../../definitions/outcome-errors.js'
import { linkTo } from '../../../protocol/base-path.js'
import type { TaskId } from '../../../protocol/task.js'
import { readArtifacts, recordArtifactIfCurrent, removeArtifactIfCurrent } from '../../../store/artifacts.js'
import { checkArtifactLabel } from './artifact-label.js'
import { createArtifactWriter, type WrittenArtifact } from './artifact-writer.js'
import type { AttemptFence } from './attempt-fence.js'

interface TaskFilesDeps {
  db: Database
  artifacts: ArtifactStore
  /** How long artifacts are kept. */
  artifactTtlMs: number
  /** Called at each heartbeat. */
  alive(): void
}

export class TaskFiles {
  readonly #principal: Principal
  readonly #fence: AttemptFence
  readonly #signal: AbortSignal
  readonly #deps: TaskFilesDeps

  /** @param signal aborts the writing of files */
  constructor(principal: Principal, fence: AttemptFence, signal: AbortSignal, deps: TaskFilesDeps) {
    this.#principal = principal
    this.#fence = fence
    this.#signal = signal
    this.#deps = deps
  }

  /** See `TaskContext.artifact`. */
  write(name: string, givenType: string | undefined): Writable {
    const mediaType = checkArtifactLabel(name, givenType)
    const { taskId: owner, attempt } = this.#fence.ref
    return createArtifactWriter({
      store: this.#deps.artifacts,
      key: { owner, attempt, name },
      signal: this.#signal,
      record: (written) => this.#record(name, mediaType, written),
    })
  }

  async #record(name: string, mediaType: string, written: WrittenArtifact): Promise<void> {
    const { db, artifacts, artifactTtlMs: ttlMs, alive } = this.#deps
    const { taskId: owner, attempt } = this.#fence.ref
    alive()
    const recorded = await this.#fence.whenDatabaseAnswers(() =>
      recordArtifactIfCurrent(db, this.#fence.ref, { name, mediaType, ttlMs, ...written }),
    )
    if (recorded === undefined) throw this.#fence.leaseLost()
    const { replacedAttempt } = recorded
    if (replacedAttempt !== null && replacedAttempt !== attempt)
      await artifacts.remove({ owner, attempt: replacedAttempt, name })
  }

  /** See `TaskContext.removeArtifact`. */
  async remove(name: string): Promise<void> {
    const { db, artifacts } = this.#deps
    const { ref } = this.#fence
    const removed = await this.#fence.whenDatabaseAnswers(() => removeArtifactIfCurrent(db, ref, name))
    if (removed === undefined) return this.#fence.assertCurrent()
    await artifacts.remove({ owner: ref.taskId, attempt: removed.attempt, name })
  }

  /**
   * See `TaskContext.readArtifact`.
   * @param owner the task itself, or an upload, which has one file whatever the name
   */
  async read(name: string, owner: TaskId): Promise<Readable> {
    const { db, artifacts } = this.#deps
    const isOwn = owner === this.#fence.ref.taskId
    // The id of an upload comes from a payload.
    const all = isUuid(owner)
      ? await this.#fence.whenDatabaseAnswers(() => readArtifacts(this.#principal, db, owner))
      : []
    const found = all.find((artifact) => !isOwn || artifact.name === name)
    if (found === undefined)
      throw new PermanentFailure(
        isOwn
          ? `there is no artifact ${name}`
          : `there is no upload ${owner}. Send the file first: POST ${linkTo('/api/uploads')}.`,
      )
    return artifacts.read({ owner, attempt: found.attempt, name: found.name })
  }
}
