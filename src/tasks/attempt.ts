/**
 * One attempt, as a pipe: claim → run → judge → settle.
 *
 * Promise: whatever the handler does, the attempt ends with exactly one recorded outcome, or another worker has taken
 * its place and nothing is recorded. "Attempt failed" is not "task failed": what follows for the task is decided here,
 * in `judge`, and nowhere else.
 *
 * - The claim changes nothing: somebody else has the attempt, or had it. The delivery was late or repeated; done.
 * - The handler throws, or returns what does not fit its schema: the attempt failed, and the task with it.
 * - The worker stops and the grace runs out: the signal aborts with `shutdown`, and the attempt is handed back.
 * - PostgreSQL goes away during the handler's transaction: the attempt is put back, for nobody knows what became of it.
 * - The lease is lost: the signal aborts with `lease lost`; what the handler still returns is refused by `settle`.
 * - The outcome cannot be stored: tried again until it is, or until the lease is lost. A failure to record an outcome is
 *   never turned into a failure of the task.
 */
import type { FastifyBaseLogger } from 'fastify'
import { crashPoint } from '../crash-point.js'
import type { Database } from '../db/database.js'
import type { AttemptError } from '../db/schema.js'
import type { Failure, FailureCode } from '../protocol/task.js'
import { findUnstorable } from '../protocol/text.js'
import { DatabaseAwayError } from './definition.js'
import type { Recorder } from './recorder.js'
import type { RegisteredType, Registry } from './registry.js'
import type { AttemptRef, ClaimedAttempt, Settlement } from './store/index.js'
import { createTaskContext } from './task-context.js'

/** The largest result a task may have, in bytes of JSON. */
export const MAX_RESULT_BYTES = 256 * 1024
const MAX_RESULT_DEPTH = 64
const RECORD_PAUSE_MS = { first: 100, most: 2_000 }

/** Why a run was asked to end: the reason of its signal. */
export type AbortReason = 'shutdown' | 'lease lost'

export interface AttemptDeps {
  db: Database
  recorder: Recorder
  registry: Registry
  log: FastifyBaseLogger
  /** Called when the run starts. */
  track(ref: AttemptRef): TrackedRun
}

/** A run whose lease is kept. */
export interface TrackedRun {
  readonly signal: AbortSignal
  /** The handler is done; its outcome is about to be recorded. */
  ending(): void
  /** It is over. Must be called. */
  end(): void
}

/** How a run ended, as far as it is still to be recorded. */
type Outcome =
  | { kind: 'completed'; result: unknown }
  | { kind: 'failed'; code: FailureCode; error: AttemptError }
  | { kind: 'released'; reason: string }

/** Runs one attempt from claim to record. Rejects only when the claim cannot be stored. */
export async function runAttempt(ref: AttemptRef, deps: AttemptDeps): Promise<void> {
  const claimed = await deps.recorder.claim(ref)
  if (claimed === undefined) return
  crashPoint('attempt:after-claim')
  const run = deps.track(ref)
  try {
    const outcome = await execute(claimed, run.signal, deps)
    crashPoint('attempt:after-run')
    run.ending()
    if (outcome !== undefined) await record(judge(ref, outcome), run.signal, deps)
  } finally {
    run.end()
  }
}

/** Undefined: the handler has committed the outcome with its own rows. */
async function execute(claimed: ClaimedAttempt, signal: AbortSignal, deps: AttemptDeps): Promise<Outcome | undefined> {
  const registered = deps.registry.find(claimed.type)
  if (registered === undefined) return fail('unknown_type', new Error(`this worker has no handler for the type ${claimed.type}`))
  const { payload, errors } = registered.readPayload(claimed.payload)
  const [misfit] = errors
  // Checked at create already; a definition may have changed since.
  if (misfit !== undefined) return fail('invalid_payload', new Error(`/payload${misfit.pointer} ${misfit.detail}`))
  const { context, isCommitted } = createTaskContext(claimed, signal, {
    ...deps,
    judgeResult: (returned) => judge({ taskId: claimed.id, attempt: claimed.attempt }, checkResult(registered, returned)),
  })
  try {
    // An abort is heard once: a handler that starts after it would wait for it in vain.
    signal.throwIfAborted()
    const result = await registered.run(payload, context)
    return isCommitted() ? undefined : checkResult(registered, result)
  } catch (error) {
    if (isCommitted()) {
      deps.log.warn({ err: error, taskId: claimed.id, attempt: claimed.attempt }, 'a handler failed after it had committed its task')
      return undefined
    }
    if (signal.aborted && signal.reason === 'shutdown') return { kind: 'released', reason: 'the worker stopped; handed back' }
    if (error instanceof DatabaseAwayError) return { kind: 'released', reason: 'the database went away; put back' }
    return fail('error', error)
  }
}

function checkResult(registered: RegisteredType, returned: unknown): Outcome {
  const result = returned ?? null
  const [misfit] = registered.checkResult(result)
  const unstorable = misfit ?? findUnstorable(result, MAX_RESULT_DEPTH)
  if (unstorable !== undefined) return fail('invalid_result', new Error(`the result does not fit: ${unstorable.pointer || 'it'} ${unstorable.detail}`))
  const bytes = Buffer.byteLength(JSON.stringify(result))
  if (bytes > MAX_RESULT_BYTES) return fail('invalid_result', new Error(`the result has ${bytes} bytes; at most ${MAX_RESULT_BYTES} are stored`))
  return { kind: 'completed', result }
}

function fail(code: FailureCode, thrown: unknown): Outcome {
  return { kind: 'failed', code, error: describeError(thrown) }
}

/** What the outcome of the attempt means for the task. */
function judge(ref: AttemptRef, outcome: Outcome): Settlement {
  switch (outcome.kind) {
    case 'completed':
      return { ...ref, outcome: 'completed', status: 'COMPLETED', reason: null, result: outcome.result }
    case 'failed': {
      const failure: Failure = { code: outcome.code, message: outcome.error.message, attempt: ref.attempt }
      return { ...ref, outcome: 'failed', status: 'FAILED', reason: outcome.error.message, failure, error: outcome.error }
    }
    case 'released':
      return { ...ref, outcome: 'released', status: 'PENDING', reason: outcome.reason }
  }
}

async function record(settlement: Settlement, signal: AbortSignal, { recorder, log }: AttemptDeps): Promise<void> {
  for (let pauseMs = RECORD_PAUSE_MS.first; ; pauseMs = Math.min(pauseMs * 2, RECORD_PAUSE_MS.most)) {
    try {
      const isRecorded = await recorder.settle(settlement)
      if (!isRecorded) log.warn(refOf(settlement), 'a late outcome was refused: the attempt is no longer current')
      return
    } catch (error) {
      if (signal.aborted && signal.reason === 'lease lost') {
        log.error({ err: error, ...refOf(settlement) }, 'an outcome was not stored before the lease ran out; the attempt will be rescued')
        return
      }
      log.warn({ err: error, ...refOf(settlement) }, 'an outcome was not stored; trying again')
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}

/** Of whatever was thrown, what can be stored and shown. */
function describeError(thrown: unknown): AttemptError {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  const clean = (text: string, length: number) => text.replaceAll('\0', '').slice(0, length).toWellFormed()
  return { name: clean(error.name, 100), message: clean(error.message || error.name, 2_000), stack: clean(error.stack ?? '', 8_000) }
}

function refOf({ taskId, attempt }: AttemptRef): AttemptRef {
  return { taskId, attempt }
}
