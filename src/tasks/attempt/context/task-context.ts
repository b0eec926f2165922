/**
 * Creates the context of a handler from its capabilities, one file each: see `TaskContext`. All its writes are fenced by
 * the number of the attempt, in the database, because a run that was paused does not know that it is late.
 */
import { serviceOf } from '../../../access/principal.js'
import type { ArtifactStore } from '../../../artifacts/artifact-store.js'
import type { Database } from '../../../db/database.js'
import type { TaskContext } from '../../../definitions/definition.js'
import type { Registry } from '../../../definitions/registry.js'
import type { Log } from '../../../log.js'
import type { Task } from '../../../protocol/task.js'
import type { ClaimedAttempt } from '../../../store/attempts/claim.js'
import type { Settlement } from '../../../store/attempts/settle.js'
import { toTask } from '../../../store/rows.js'
import { sleepFor } from '../../../timing/pause.js'
import type { Recorder } from '../recorder.js'
import { AttemptFence } from './attempt-fence.js'
import { Children } from './children.js'
import { Effects } from './effects.js'
import { createHandlerLog } from './handler-log.js'
import { KeyPauses } from './key-pauses.js'
import { ProgressReports } from './progress-reports.js'
import { TaskFiles } from './task-files.js'
import { OutcomeTransaction } from './transaction.js'

/** The services of a worker, shared by all attempts. */
export interface WorkerServices {
  db: Database
  recorder: Recorder
  registry: Registry
  log: Log
  artifacts: ArtifactStore
  /** How long artifacts are kept. */
  artifactTtlMs: number
}

export interface TaskContextDeps extends WorkerServices {
  /** Called at each heartbeat. */
  alive(): void
  /** The settlement for this result of the handler. */
  settleReturned(returned: unknown): Settlement | undefined
}

export interface OpenTaskContext {
  context: TaskContext
  /** Whether the handler has committed the outcome itself. */
  isCommitted(): boolean
}

export function createTaskContext(
  claimed: ClaimedAttempt,
  signal: AbortSignal,
  deps: TaskContextDeps,
): OpenTaskContext {
  const { db, recorder, registry, log, alive } = deps
  const { id: taskId, tenant, attempt } = claimed
  const principal = serviceOf(tenant, `task:${taskId}`)
  const ref = { taskId, attempt }
  const fence = new AttemptFence(ref, db, signal, log)
  const effects = new Effects(db, fence)
  const transaction = new OutcomeTransaction(fence, deps)
  const keyPauses = new KeyPauses(principal, fence, db)
  const children = new Children(principal, fence, deps)
  const files = new TaskFiles(principal, fence, signal, deps)
  const warn = (message: string) => context.log.warn(message)
  const progress = new ProgressReports(claimed, { registry, recorder, alive, warn })
  let handlerLog: Log | undefined
  let task: Task | undefined

  const context: TaskContext = {
    taskId,
    tenant,
    principal,
    attempt,
    signal,
    db,
    // Created on first use: most handlers need neither.
    get task() {
      return (task ??= toTask(claimed))
    },
    get schedule() {
      return context.task.schedule ?? undefined
    },
    get log() {
      return (handlerLog ??= createHandlerLog(log, ref, (line) => {
        alive()
        recorder.log({ ...ref, ...line })
      }))
    },
    progress: (done, total, message, data) => progress.report(done, total, message, data),
    heartbeat: () => alive(),
    sleep: (milliseconds) => sleepFor(milliseconds, signal),
    artifact: (name, options) => files.write(name, options?.mediaType),
    removeArtifact: (name) => files.remove(name),
    readArtifact: (name, options) => files.read(name, options?.upload ?? taskId),
    create: (type, payload, options = {}) => children.create(type, payload, options),
    pauseKey: (key, until, reason) => keyPauses.pause(key, until, reason),
    once: (key, effect) => effects.once(key, effect),
    transaction: (work) => transaction.commitWith(work),
    async fence() {
      await fence.assertCurrent()
      return attempt
    },
  }
  return { context, isCommitted: () => transaction.isCommitted }
}
