/**
 * Creates the context of a handler: see `TaskContext`. All its writes are fenced by the number of the attempt, in the
 * database, because a run that was paused does not know that it is late.
 */
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { serviceOf } from '../../../access/principal.js'
import type { ArtifactStore } from '../../../artifacts/artifact-store.js'
import type { Database } from '../../../db/database.js'
import { isRefusedForGood } from '../../../db/refused-data.js'
import { isUnavailable } from '../../../db/unavailable.js'
import {
  DatabaseAwayError,
  LeaseLostError,
  type CreateChildOptions,
  type TaskContext,
} from '../../../definitions/definition.js'
import { PermanentFailure, UnstorableError } from '../../../definitions/outcome-errors.js'
import type { Registry } from '../../../definitions/registry.js'
import { createChecker } from '../../../definitions/schema-errors.js'
import type { Log } from '../../../log.js'
import { CreateTask, MAX_BODY_DEPTH } from '../../../protocol/http.js'
import { MAX_PROGRESS_MESSAGE_LENGTH } from '../../../protocol/limits.js'
import type { Event } from '../../../protocol/stream.js'
import type { Task, TaskId } from '../../../protocol/task.js'
import { findUnstorable, toStorableText } from '../../../protocol/text.js'
import { readArtifacts, recordArtifactIfCurrent, removeArtifactIfCurrent } from '../../../store/artifacts.js'
import type { ClaimedAttempt } from '../../../store/attempts/claim.js'
import { findEffect, recordEffect, type EffectRecord } from '../../../store/attempts/effects.js'
import { settleInTransaction, type Settlement } from '../../../store/attempts/settle.js'
import { toTask } from '../../../store/rows.js'
import { createTaskOnce } from '../../../store/tasks/create-unique.js'
import { retry } from '../../../timing/retry.js'
import { boundKey } from '../../create/bounded-key.js'
import { NewTaskError, readNewTask } from '../../create/new-task.js'
import type { Recorder } from '../recorder.js'
import { describeLostValue, describeViolation, EFFECT_LIMITS, toStorable } from '../storable.js'
import { checkArtifactLabel } from './artifact-label.js'
import { createArtifactWriter } from './artifact-writer.js'
import { createHandlerLog } from './handler-log.js'
import { createPaceMeter } from './pace.js'

const MAX_KEY_LENGTH = 200
const PROGRESS_DATA_LIMITS = { maxBytes: 2_048, maxDepth: 16 }
const childChecker = createChecker(CreateTask)
/** How long a later attempt's create is recognized as a repetition of an earlier one. */
const CHILD_KEY_TTL_MS = 30 * 86_400_000
const PAUSES = { firstMs: 100, maxMs: 2_000 }

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
  const { db, recorder, log } = deps
  const { id: taskId, tenant, attempt } = claimed
  const principal = serviceOf(tenant, `task:${taskId}`)
  const ref = { taskId, attempt }
  const underWay = new Map<string, Promise<unknown>>()
  const created = new Map<string, number>()
  const measurePace = createPaceMeter()
  let handlerLog: Log | undefined
  let task: Task | undefined
  let isCommitted = false
  let hasComplained = false

  async function assertCurrent(): Promise<void> {
    const { isCurrent } = await whenDatabaseAnswers(() => findEffect(db, ref, ''))
    if (!isCurrent) throw leaseLost()
  }

  function leaseLost(): LeaseLostError {
    return new LeaseLostError(`attempt ${attempt} is no longer the current one of task ${taskId}`)
  }

  async function doOnce(
    key: string,
    effect: (options: { idempotencyKey: string }) => Promise<unknown>,
  ): Promise<unknown> {
    const known = await whenDatabaseAnswers(() => findEffect(db, ref, key))
    if (!known.isCurrent) throw leaseLost()
    if (known.failure !== null) throw new UnstorableError('invalid_effect', known.failure)
    if (known.isRecorded) return known.value
    const stored = toStorable(await effect({ idempotencyKey: `${taskId}:${key}` }), EFFECT_LIMITS)
    const recorded = await recordDone(
      key,
      stored.violation ? { failure: describeLostValue(key, stored.violation) } : stored,
    )
    if ('failure' in recorded) throw new UnstorableError('invalid_effect', recorded.failure)
    await assertCurrent()
    return recorded.value
  }

  /** The effect has happened, so while PostgreSQL is away the record is retried. */
  async function recordDone(key: string, record: EffectRecord): Promise<EffectRecord> {
    try {
      await whenDatabaseAnswers(() => recordEffect(db, ref, key, record))
      return record
    } catch (error) {
      if (!isRefusedForGood(error) || 'failure' in record) throw error
      return recordDone(key, {
        failure: describeLostValue(key, { pointer: '', detail: toStorableText((error as Error).message, 500) }),
      })
    }
  }

  /** Retries while PostgreSQL is away, until the run is asked to end. */
  function whenDatabaseAnswers<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    return retry(ask, {
      ...PAUSES,
      // Not the signal itself: an abort during a pause leaves one more try.
      isWorthwhile: (error) => !signal.aborted && isUnavailable(error),
      onRetry: (error) => log.warn({ err: error, ...ref }, 'PostgreSQL did not answer a handler; trying again'),
    })
  }

  async function commitWith<Value>(work: Parameters<TaskContext['transaction']>[0]): Promise<Value> {
    await whenDatabaseAnswers(() => recorder.flush(taskId))
    let event: Event | undefined
    const commit = db.transaction(async (transaction) => {
      const returned = await work(transaction.orm)
      const settlement = deps.settleReturned(returned)
      if (settlement?.status !== 'COMPLETED')
        throw new UnstorableError('invalid_result', settlement?.reason ?? 'the result does not fit')
      event = await settleInTransaction(transaction, settlement)
      if (event === undefined) throw leaseLost()
      return returned as Value
    })
    const result = await commit.catch((error: unknown) => {
      // Whether it was committed is unknown. If it was, the claim refuses the attempt that is put back.
      throw isUnavailable(error)
        ? new DatabaseAwayError('PostgreSQL went away during a transaction', { cause: error })
        : error
    })
    isCommitted = true
    // If this publication is lost, the hub's position check finds the event.
    if (event !== undefined) recorder.announce(event)
    return result
  }

  /** The same call in each attempt has the same name, as long as the handler makes its calls in the same order. */
  function nameChild(type: string, key: string | undefined): string {
    if (key !== undefined) return `key ${key}`
    const count = (created.get(type) ?? 0) + 1
    created.set(type, count)
    return `${type} ${count}`
  }

  async function createChild(type: string, payload: unknown, { key, ...options }: CreateChildOptions): Promise<TaskId> {
    const name = nameChild(type, key)
    const task = readNewTask(
      readChild({ ...options, type, ...(payload !== undefined && { payload }) }),
      { tenant, parentId: taskId },
      deps.registry,
    )
    await assertCurrent()
    const once = { key: boundKey(`child of ${taskId}: ${name}`), fingerprint: type, ttlMs: CHILD_KEY_TTL_MS }
    return whenDatabaseAnswers(() => createTaskOnce(principal, db, task, once))
  }

  function writeArtifact(name: string, givenType: string | undefined): Writable {
    const mediaType = checkArtifactLabel(name, givenType)
    const { artifacts: store, artifactTtlMs: ttlMs } = deps
    return createArtifactWriter({
      store,
      key: { owner: taskId, attempt, name },
      signal,
      async record(written) {
        deps.alive()
        const recorded = await whenDatabaseAnswers(() =>
          recordArtifactIfCurrent(db, ref, { name, mediaType, ttlMs, ...written }),
        )
        if (recorded === undefined) throw leaseLost()
        const { replacedAttempt } = recorded
        if (replacedAttempt !== null && replacedAttempt !== attempt)
          await store.remove({ owner: taskId, attempt: replacedAttempt, name })
      },
    })
  }

  async function removeArtifact(name: string): Promise<void> {
    const removed = await whenDatabaseAnswers(() => removeArtifactIfCurrent(db, ref, name))
    if (removed === undefined) return assertCurrent()
    await deps.artifacts.remove({ owner: taskId, attempt: removed.attempt, name })
  }

  async function readArtifact(name: string, owner: TaskId): Promise<Readable> {
    const found = (await whenDatabaseAnswers(() => readArtifacts(principal, db, owner))).find(
      (artifact) => owner !== taskId || artifact.name === name,
    )
    if (found === undefined)
      throw new PermanentFailure(
        owner === taskId
          ? `there is no artifact ${name}`
          : `there is no upload ${owner}. Send the file first: POST /api/uploads.`,
      )
    return deps.artifacts.read({ owner, attempt: found.attempt, name: found.name })
  }

  /** Empty when the data does not fit: progress is a hint and must not fail the task. */
  function readData(data: unknown): { data?: unknown } {
    if (data === undefined) return {}
    const stored = toStorable(data, PROGRESS_DATA_LIMITS)
    const violation = stored.violation ?? deps.registry.find(claimed.type)?.checkProgress(stored.value)[0]
    if (violation === undefined) return { data: stored.value }
    if (!hasComplained) context.log.warn(`the data of a progress report is left out: ${describeViolation(violation)}`)
    hasComplained = true
    return {}
  }

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
    get log() {
      return (handlerLog ??= createHandlerLog(log, ref, (line) => {
        deps.alive()
        recorder.log({ ...ref, ...line })
      }))
    },
    progress(done, total, message, data) {
      if (!isCount(done) || (total !== undefined && !isCount(total)))
        throw new RangeError('progress takes done and total as finite numbers of 0 or more')
      const fraction = total === undefined ? null : total === 0 ? 1 : Math.min(done / total, 1)
      const text = message === undefined ? null : toStorableText(message, MAX_PROGRESS_MESSAGE_LENGTH)
      deps.alive()
      recorder.progress({
        ...ref,
        progress: {
          fraction,
          done,
          total: total ?? null,
          message: text,
          ...readData(data),
          ...measurePace(done, total),
        },
      })
    },
    heartbeat: () => deps.alive(),
    async sleep(milliseconds) {
      await sleep(milliseconds, undefined, { signal })
    },
    artifact: (name, { mediaType } = {}) => writeArtifact(name, mediaType),
    removeArtifact,
    readArtifact: (name, { upload } = {}) => readArtifact(name, upload ?? taskId),
    create: (type, payload, options = {}) => createChild(type, payload, options),
    async once<Value>(key: string, effect: (options: { idempotencyKey: string }) => Promise<Value>) {
      if (key.length < 1 || key.length > MAX_KEY_LENGTH || findUnstorable(key, 1))
        throw new RangeError(`the key of an effect has 1 to ${MAX_KEY_LENGTH} characters of well-formed text`)
      const running = underWay.get(key) ?? doOnce(key, effect).finally(() => underWay.delete(key))
      underWay.set(key, running)
      return running as Promise<Value>
    },
    transaction: (work) => commitWith(work),
    async fence() {
      await assertCurrent()
      return attempt
    },
  }
  return { context, isCommitted: () => isCommitted }
}

/** PostgreSQL's jsonb has no NaN and no infinity. */
function isCount(value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && Number.isFinite(value)
}

/** Applies the rules for clients to a handler's create. @throws NewTaskError */
function readChild(child: CreateTask): CreateTask {
  const stored = toStorable(child, { maxBytes: Infinity, maxDepth: MAX_BODY_DEPTH })
  const errors = stored.violation ? [stored.violation] : childChecker.check(stored.value)
  const [first] = errors
  if (first === undefined) return stored.value as CreateTask
  throw new NewTaskError('invalid_task', `the options of ctx.create do not fit: ${describeViolation(first)}`, errors)
}
