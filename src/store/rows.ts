/**
 * Turns rows into what clients see.
 *
 * Any row can be shown: manual SQL or an older version may have written values that no statement here writes, and one
 * such task must not fail the whole page. Times are bounded when they are read (see `db/instant.ts`); the rest is in
 * `stored-values.ts`.
 */
import { markTenant } from '../access/principal.js'
import { rewriteInstant } from '../db/instant.js'
import type { TaskFacts } from '../protocol/notice.js'
import type { OnFailure } from '../protocol/release.js'
import { isFinal, type Status } from '../protocol/status.js'
import type { Event, TaskChanges, TransitionMessage } from '../protocol/stream.js'
import {
  linksOf,
  type EditedField,
  type Failure,
  type Progress,
  type Task,
  type TaskId,
  type TaskSlot,
  type TaskSummary,
} from '../protocol/task.js'
import { toEditedFields, toFailure, toProgress, toTaskSlot, toTexts } from './stored-values.js'

/** Size limit of any page, in bytes. The last task of a list may exceed it. */
export const MAX_PAGE_BYTES = 1024 * 1024

/** The columns that every move of a task returns. */
const STATE_COLUMNS = 't.id, t.status, t.version, t.attempt'

const SUMMARY_COLUMNS_BESIDE_STATE = `t.title, t.type, t.max_attempts as "maxAttempts", t.queue,
  t.priority, to_json(t.tags) as tags, t.progress, t.failure, t.run_at as "runAt", t.created_at as "createdAt",
  t.started_at as "startedAt", t.finished_at as "finishedAt", t.expires_at as "expiresAt", t.unique_key as "uniqueKey",
  t.parent_id as "parentId", t.batch_id as "batchId", t.callback_url as "callbackUrl",
  t.concurrency_key as "concurrencyKey", t.sequence_key as "sequenceKey",
  case when t.halts then 'halt' when not t.halts then 'skip' end as "onFailure", coalesce(t.cost, 1)::integer as cost, t.schedule`

/** The columns of `tasks t` for a `TaskSummary`, named as its fields. */
export const SUMMARY_COLUMNS = `${STATE_COLUMNS}, ${SUMMARY_COLUMNS_BESIDE_STATE}`

/** The columns for a `Task`. */
export const TASK_COLUMNS_BESIDE_STATE = `${SUMMARY_COLUMNS_BESIDE_STATE}, t.payload, t.result`
export const TASK_COLUMNS = `${STATE_COLUMNS}, ${TASK_COLUMNS_BESIDE_STATE}`

export interface SummaryRow {
  id: TaskId
  title: string
  type: string
  status: Status
  version: number
  attempt: number
  maxAttempts: number
  queue: string
  priority: number
  tags: string[]
  progress: Progress | null
  failure: Failure | null
  runAt: Date | null
  createdAt: Date
  startedAt: Date | null
  finishedAt: Date | null
  expiresAt: Date | null
  uniqueKey: string | null
  parentId: TaskId | null
  batchId: TaskId | null
  callbackUrl: string | null
  concurrencyKey: string | null
  sequenceKey: string | null
  onFailure: OnFailure | null
  cost: number
  schedule: TaskSlot | null
  /** Only when requested. */
  payload?: unknown
  result?: unknown
}

export interface TaskRow extends SummaryRow {
  payload: unknown
  result: unknown
}

export function toTask(row: TaskRow): Task {
  const { payload, result } = row
  return { ...toSummary(row), payload, result }
}

/** Includes payload and result when the row has them. */
export function toSummary(row: SummaryRow): TaskSummary {
  return {
    id: row.id,
    title: row.title,
    type: row.type,
    status: row.status,
    version: row.version,
    attempt: row.attempt,
    maxAttempts: row.maxAttempts,
    queue: row.queue,
    priority: row.priority,
    tags: toTexts(row.tags),
    ...('payload' in row && { payload: row.payload }),
    progress: toProgress(row.progress),
    ...('result' in row && { result: row.result }),
    failure: toFailure(row.failure, row.attempt),
    runAt: row.runAt?.toISOString() ?? null,
    expiresAt: row.expiresAt?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
    startedAt: row.startedAt?.toISOString() ?? null,
    finishedAt: row.finishedAt?.toISOString() ?? null,
    uniqueKey: row.uniqueKey,
    parentId: row.parentId,
    batchId: row.batchId,
    callbackUrl: row.callbackUrl,
    concurrencyKey: row.concurrencyKey,
    sequenceKey: row.sequenceKey,
    onFailure: row.onFailure,
    cost: row.cost,
    schedule: toTaskSlot(row.schedule),
    links: linksOf(row.id),
  }
}

/** A stored transition, with the columns of the task that belong to it. */
export interface TransitionRow {
  taskId: TaskId
  version: number
  fromStatus: Status | null
  status: Status
  attempt: number
  at: Date
  reason: string | null
  runAt?: Date | null
  result?: unknown
  failure?: Failure | null
  /** Edits only: the changed fields, and those whose values are still the task's. */
  edited?: EditedField[] | null
  standing?: EditedField[] | null
  title?: string
  payload?: unknown
  priority?: number
  tags?: string[]
  expiresAt?: Date | null
  /** Both only from statements that move tasks. */
  tenant?: string
  facts?: TaskFacts
}

/** The facts of `tasks t`, for lists. */
export const FACTS = `json_build_object('type', t.type, 'queue', t.queue, 'tags', t.tags, 'batchId', t.batch_id, 'parentId', t.parent_id, 'createdAt', t.created_at) as facts`

/** The transition as published. */
export function toEvent({ tenant, facts, ...row }: TransitionRow): Event {
  return {
    ...toTransitionMessage(row),
    ...(tenant !== undefined && markTenant(tenant)),
    ...(facts && { facts: { ...facts, tags: toTexts(facts.tags), createdAt: rewriteInstant(facts.createdAt) } }),
  }
}

/** The facts of a fully read task. */
export function factsOf({
  type,
  queue,
  tags,
  batchId,
  parentId,
  createdAt,
}: Pick<SummaryRow, 'type' | 'queue' | 'tags' | 'batchId' | 'parentId' | 'createdAt'>): TaskFacts {
  return { type, queue, tags, batchId, parentId, createdAt: createdAt.toISOString() }
}

/**
 * The message of a transition. It is built from the row, so a live copy equals one read later, except for values that a
 * later edit replaced.
 */
export function toTransitionMessage(row: TransitionRow): TransitionMessage {
  const message: TransitionMessage = {
    type: 'transition',
    taskId: row.taskId,
    status: row.status,
    version: row.version,
    from: row.fromStatus,
    attempt: row.attempt,
    at: row.at.toISOString(),
    reason: row.reason,
  }
  if (row.runAt && !isFinal(row.status)) message.runAt = row.runAt.toISOString()
  if (row.status === 'COMPLETED') message.result = row.result ?? null
  const failure = toFailure(row.failure ?? null, row.attempt)
  if (row.status === 'FAILED' && failure) message.failure = failure
  if (row.edited)
    Object.assign(message, {
      edited: toEditedFields(row.edited),
      changes: toChanges(row),
    } satisfies Partial<TransitionMessage>)
  return message
}

function toChanges({ standing, title, payload, priority, tags, runAt, expiresAt }: TransitionRow): TaskChanges {
  const values = {
    title,
    payload,
    priority,
    tags: tags && toTexts(tags),
    runAt: runAt?.toISOString(),
    expiresAt: expiresAt?.toISOString() ?? null,
  }
  return Object.fromEntries(toEditedFields(standing ?? []).map((field) => [field, values[field]]))
}
