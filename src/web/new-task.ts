/** Turns a client's request into a task that can be stored, or says everything that is wrong with it. */
import type { FieldError } from '../protocol/errors.js'
import { MAX_BODY_DEPTH, type CreateTask } from '../protocol/http.js'
import { linksOf, type Task } from '../protocol/task.js'
import { findUnstorable } from '../protocol/text.js'
import type { Registry } from '../tasks/registry.js'
import type { CreatedTask, NewTask } from '../tasks/store/index.js'
import { createTaskId } from '../tasks/task-id.js'
import { ProblemError } from './problem.js'

/** @throws ProblemError `invalid_task`, `unknown_type` or `invalid_payload`; nothing was stored */
export function readNewTask(body: CreateTask, tenant: string, registry: Registry): NewTask {
  const misfit = findUnstorable(body, MAX_BODY_DEPTH) ?? checkTimes(body)
  if (misfit !== undefined) throw new ProblemError('invalid_task', `${misfit.pointer} ${misfit.detail}`, [misfit])
  const type = body.type ?? registry.defaultType
  return {
    id: createTaskId(),
    tenant,
    type,
    title: body.title ?? type,
    priority: body.priority ?? 0,
    tags: body.tags ?? [],
    payload: readPayload(body, type, registry),
    runAt: body.runAt === undefined ? null : new Date(body.runAt).toISOString(),
    delayMs: body.delayMs ?? null,
  }
}

/** The task as it was just stored. */
export function toNewTaskView(task: NewTask, created: CreatedTask): Task {
  return {
    id: task.id,
    title: task.title,
    type: task.type,
    status: created.status,
    version: 1,
    attempt: 0,
    maxAttempts: 1,
    queue: 'default',
    priority: task.priority,
    tags: [...task.tags],
    payload: task.payload,
    progress: null,
    result: null,
    failure: null,
    runAt: created.runAt?.toISOString() ?? null,
    createdAt: created.createdAt.toISOString(),
    startedAt: null,
    finishedAt: null,
    links: linksOf(task.id),
  }
}

function readPayload(body: CreateTask, type: string, registry: Registry): unknown {
  const registered = registry.find(type)
  if (registered === undefined) {
    const known = registry.list().map((info) => info.type)
    const detail = `"${type}" is not one of ${known.join(', ')}`
    throw new ProblemError('unknown_type', `There is no task type ${detail}.`.replace(' is not', ': it is not'), [
      { pointer: '/type', detail, fix: 'Use one of these types.' },
    ])
  }
  const { payload, errors } = registered.readPayload(body.payload)
  if (errors.length === 0) return payload
  const fields = errors.map((error) => ({ ...error, pointer: `/payload${error.pointer}` }))
  const [first] = fields
  throw new ProblemError('invalid_payload', `The payload does not fit ${type}: ${first?.pointer ?? ''} ${first?.detail ?? ''}`, fields)
}

function checkTimes({ runAt, delayMs }: CreateTask): FieldError | undefined {
  if (runAt === undefined) return undefined
  if (delayMs !== undefined) return { pointer: '/delayMs', detail: 'comes together with runAt', fix: 'Send one of the two.' }
  if (Number.isNaN(Date.parse(runAt))) return { pointer: '/runAt', detail: 'is not a time', fix: 'Send ISO 8601, e.g. 2026-11-20T21:22:23Z.' }
  return undefined
}
