/** Turns a request into a task that can be stored, or reports everything that is wrong with it. */
import { DEFAULT_ATTEMPTS } from '../../definitions/definition.js'
import { callTypeCode } from '../../definitions/handler-scope.js'
import type { RegisteredType, Registry } from '../../definitions/registry.js'
import type { FieldError } from '../../protocol/errors.js'
import { MAX_BODY_DEPTH, type CreateTask } from '../../protocol/http.js'
import { FIRST_INSTANT, LAST_INSTANT, linksOf, type Task, type TaskId } from '../../protocol/task.js'
import { findUnstorable } from '../../protocol/text.js'
import type { CreatedTask, TaskExtras, NewTask } from '../../store/tasks/create.js'
import { boundKey, boundShortKey } from './bounded-key.js'
import { checkDebounce, readDebounce } from './debounce.js'
import { NewTaskError } from './new-task-error.js'
import { createTaskId } from './task-id.js'

export { NewTaskError }

const FIRST_MS = Date.parse(FIRST_INSTANT)
const LAST_MS = Date.parse(LAST_INSTANT)

export interface NewTaskOrigin {
  tenant: string
  parentId?: TaskId
  batchId?: TaskId
}

/** @throws NewTaskError */
export function readNewTask(body: CreateTask, origin: NewTaskOrigin, registry: Registry): NewTask {
  const unstorable = findUnstorable(body, MAX_BODY_DEPTH)
  if (unstorable !== undefined)
    throw new NewTaskError('invalid_task', `${unstorable.pointer} ${unstorable.detail}`, [unstorable])
  const registered = findType(body, registry)
  const { type, priority, attempts = DEFAULT_ATTEMPTS } = registered.definition
  const { debounce } = body
  // A patch is checked when it is merged.
  const { payload, errors } =
    debounce?.take === 'merge' ? { payload: null, errors: [] } : registered.readPayload(body.payload)
  refuse(
    type,
    [
      ...checkDebounce(body, registered.definition),
      ...checkTimes(body),
      ...checkQueue(body, registry),
      ...checkSequence(body, registered),
    ],
    errors.map((error) => ({ ...error, pointer: `/payload${error.pointer}` })),
  )
  const task: NewTask = {
    id: createTaskId(),
    tenant: origin.tenant,
    type,
    title: body.title ?? type,
    priority: body.priority ?? priority ?? 0,
    tags: body.tags ?? [],
    payload,
    runAt: toInstant(body.runAt) ?? null,
    delayMs: body.delayMs ?? null,
    queue: body.queue ?? registered.queue,
    maxAttempts: attempts,
    more: readMore(body, payload, origin, registered),
  }
  return debounce === undefined ? task : { ...task, debounce: readDebounce({ ...body, debounce }, task, registered) }
}

/** The task as just stored. */
export function toNewTaskView(task: NewTask, created: CreatedTask): Task {
  const { expiresAt = null, uniqueKey = null, parentId = null, batchId = null, callbackUrl = null } = task.more ?? {}
  const { concurrencyKey = null, sequenceKey = null, onFailure = 'halt', cost = 1, schedule = null } = task.more ?? {}
  return {
    id: task.id,
    title: task.title,
    type: task.type,
    status: created.status,
    version: 1,
    attempt: 0,
    maxAttempts: task.maxAttempts,
    queue: task.queue,
    priority: task.priority,
    tags: [...task.tags],
    payload: task.payload,
    progress: null,
    result: null,
    failure: null,
    runAt: created.runAt?.toISOString() ?? null,
    expiresAt,
    createdAt: created.createdAt.toISOString(),
    startedAt: null,
    finishedAt: null,
    uniqueKey,
    parentId,
    batchId,
    callbackUrl,
    concurrencyKey,
    sequenceKey,
    onFailure: sequenceKey === null ? null : onFailure,
    cost,
    schedule,
    links: linksOf(task.id),
  }
}

function findType(body: CreateTask, registry: Registry): RegisteredType {
  const type = body.type ?? registry.defaultType
  const registered = registry.find(type)
  if (registered !== undefined && registered.definition.isInternal !== true) return registered
  const detail = `is not one of ${registry.creatableTypes().join(', ')}`
  if (registered !== undefined) {
    throw new NewTaskError('internal_type', `Only the server creates and edits tasks of the type "${type}".`, [
      {
        pointer: '/type',
        detail: `"${type}" ${detail}`,
        fix: 'Use one of these types. For a callback at the end of a task, send `callbackUrl` with it.',
      },
    ])
  }
  throw new NewTaskError('unknown_type', `There is no task type "${type}": it ${detail}.`, [
    { pointer: '/type', detail: `"${type}" ${detail}`, fix: 'Use one of these types.' },
  ])
}

/** @throws NewTaskError with all errors, when there are any */
function refuse(type: string, ofTask: readonly FieldError[], ofPayload: readonly FieldError[]): void {
  const errors = [...ofTask, ...ofPayload]
  const [first] = errors
  if (first === undefined) return
  const said = `${first.pointer} ${first.detail}`
  if (ofTask.length > 0) throw new NewTaskError('invalid_task', said, errors)
  throw new NewTaskError('invalid_payload', `The payload does not fit ${type}: ${said}`, errors)
}

function checkQueue({ queue }: CreateTask, { queues }: Registry): FieldError[] {
  if (queue === undefined || queues.has(queue)) return []
  return [
    {
      pointer: '/queue',
      detail: `"${queue}" is not one of ${[...queues].join(', ')}`,
      fix: 'Use one of these queues, or ask the operator to add it to QUEUES.',
    },
  ]
}

function checkSequence({ sequenceKey, onFailure }: CreateTask, { definition }: RegisteredType): FieldError[] {
  if (sequenceKey !== undefined || onFailure === undefined || definition.sequenceKeyBy !== undefined) return []
  return [
    {
      pointer: '/onFailure',
      detail: 'can only be combined with sequenceKey',
      fix: 'Send a sequenceKey too, or leave onFailure out.',
    },
  ]
}

/** Undefined for the many tasks that have none of these. */
function readMore(
  body: CreateTask,
  payload: unknown,
  origin: NewTaskOrigin,
  registered: RegisteredType,
): TaskExtras | undefined {
  const { parentId, batchId } = origin
  const { callbackUrl, onFailure, cost } = body
  const uniqueKey = body.uniqueKey ?? makeKey('uniqueBy', payload, registered)
  const concurrencyKey = body.concurrencyKey ?? makeKey('concurrencyKeyBy', payload, registered)
  const sequenceKey = body.sequenceKey ?? makeKey('sequenceKeyBy', payload, registered)
  const expiresAt = toInstant(body.expiresAt)
  const more = { expiresAt, uniqueKey, parentId, batchId, callbackUrl, concurrencyKey, sequenceKey, onFailure, cost }
  return Object.values(more).every((value) => value === undefined) ? undefined : more
}

/** The functions of a type that make keys, and what they make. */
const KEYS = { uniqueBy: 'unique key', concurrencyKeyBy: 'concurrency key', sequenceKeyBy: 'sequence key' } as const

/** Calls the type's own code, which may not expect this payload. Only a unique key is required. */
function makeKey(by: keyof typeof KEYS, payload: unknown, { definition }: RegisteredType): string | undefined {
  if (definition[by] === undefined) return undefined
  try {
    const key: unknown = callTypeCode(definition.type, () => definition[by]?.(payload as never))
    if (by !== 'uniqueBy' && (key === undefined || key === '')) return undefined
    if (typeof key === 'string') return by === 'uniqueBy' ? boundKey(key) : boundShortKey(key)
    throw new TypeError(`${by} of ${definition.type} returned ${typeof key}, not a string`)
  } catch (error) {
    const detail = `has no ${KEYS[by]}: ${by} of ${definition.type} failed for it`
    throw new NewTaskError(
      'invalid_payload',
      `/payload ${detail}.`,
      [
        {
          pointer: '/payload',
          detail,
          fix: 'Send another payload, or ask the operator to correct the type; the log of the server has the error.',
        },
      ],
      { cause: error },
    )
  }
}

function toInstant(time: string | undefined): string | undefined {
  return time === undefined ? undefined : new Date(time).toISOString()
}

function checkTimes({ runAt, delayMs, expiresAt }: CreateTask): FieldError[] {
  // Fast path: nearly every task has none.
  if (runAt === undefined && expiresAt === undefined) return []
  const malformed = [...checkTime('/runAt', runAt), ...checkTime('/expiresAt', expiresAt)]
  if (malformed.length > 0) return malformed
  if (runAt !== undefined && delayMs !== undefined)
    return [{ pointer: '/delayMs', detail: 'cannot be combined with runAt', fix: 'Send one of the two.' }]
  if (expiresAt === undefined) return []
  const startMs = runAt === undefined ? Date.now() + (delayMs ?? 0) : Math.max(Date.parse(runAt), Date.now())
  if (Date.parse(expiresAt) > startMs) return []
  return [
    {
      pointer: '/expiresAt',
      detail: 'is before the task could start',
      fix: 'Choose a later expiry or an earlier start.',
    },
  ]
}

/** ISO 8601 allows years before 1 and, with an offset, after 9999, which PostgreSQL does not read in this form. */
export function checkTime(pointer: string, time: string | undefined): FieldError[] {
  if (time === undefined) return []
  const at = Date.parse(time)
  if (Number.isNaN(at)) return [{ pointer, detail: 'is not a time', fix: 'Send ISO 8601, e.g. 2026-11-20T21:22:23Z.' }]
  if (at >= FIRST_MS && at <= LAST_MS) return []
  return [{ pointer, detail: 'is not in the years 0001 to 9999 (UTC)', fix: 'Send another time, or leave it out.' }]
}
