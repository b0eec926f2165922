/**
 * What a create with a debounce key does to the task that has the key.
 *
 * - `last`: the task is as the last create asks for it.
 * - `merge`: the payload is a merge patch, of `{}` when there is no task; of the other fields, those given replace those
 *   of the task.
 *
 * The queue and other fields that no edit can change are those of the first create. A later one that asks for others is
 * refused: what it asks for would be dropped.
 */
import type { Definition } from '../../definitions/definition.js'
import type { RegisteredType } from '../../definitions/registry.js'
import type { FieldError } from '../../protocol/errors.js'
import { DEFAULT_MAX_DEBOUNCE_MS, MAX_BODY_BYTES, type CreateTask } from '../../protocol/http.js'
import type { NewTask } from '../../store/tasks/create.js'
import type { Debounce, DebouncedFields, DebouncedTask, SettledFields } from '../../store/tasks/debounce.js'
import { NewTaskError } from './new-task-error.js'
import { mergePatch } from './merge-patch.js'

/** How much longer than `delayMs` the default of `maxDelayMs` is. */
const PATIENCE = 10

/** The errors of fields that cannot be combined with `debounce`. */
export function checkDebounce(
  { debounce, uniqueKey, runAt, delayMs, concurrencyKey, sequenceKey }: CreateTask,
  {
    type,
    uniqueBy,
    concurrencyKeyBy,
    sequenceKeyBy,
  }: Pick<Definition, 'type' | 'uniqueBy' | 'concurrencyKeyBy' | 'sequenceKeyBy'>,
): FieldError[] {
  if (debounce === undefined) return []
  const errors: FieldError[] = []
  const refuseBeside = (name: string, value: unknown, fix: string) => {
    if (value !== undefined) errors.push({ pointer: `/${name}`, detail: 'cannot be combined with debounce', fix })
  }
  refuseBeside('uniqueKey', uniqueKey, 'Send one of the two.')
  refuseBeside('runAt', runAt, 'Leave it out: debounce.delayMs decides when the task starts.')
  refuseBeside('delayMs', delayMs, 'Leave it out, and send the delay as debounce.delayMs.')
  if (uniqueBy !== undefined) {
    const detail = `cannot be combined with ${type}, which makes a unique key for each task`
    errors.push({ pointer: '/debounce', detail, fix: 'Leave it out.' })
  }
  // A patch is no payload yet, and a key must not change with the patches that follow.
  if (
    debounce.take === 'merge' &&
    ((concurrencyKeyBy !== undefined && concurrencyKey === undefined) ||
      (sequenceKeyBy !== undefined && sequenceKey === undefined))
  ) {
    const detail = `is merge, which cannot be combined with ${type}: it makes keys from whole payloads`
    errors.push({ pointer: '/debounce/take', detail, fix: 'Send last, or the keys with the task.' })
  }
  if (debounce.maxDelayMs !== undefined && debounce.maxDelayMs < debounce.delayMs) {
    const fix = `Send at least ${debounce.delayMs}, or leave it out.`
    errors.push({ pointer: '/debounce/maxDelayMs', detail: 'is less than delayMs', fix })
  }
  return errors
}

/** @param task as the create alone would make it; with `merge`, its payload is not used */
export function readDebounce(
  body: CreateTask & { debounce: NonNullable<CreateTask['debounce']> },
  task: NewTask,
  registered: RegisteredType,
): Debounce {
  const { key, delayMs, take = 'last' } = body.debounce
  const maxDelayMs =
    body.debounce.maxDelayMs ?? Math.max(delayMs, Math.min(PATIENCE * delayMs, DEFAULT_MAX_DEBOUNCE_MS))
  return {
    key,
    delayMs,
    maxDelayMs,
    apply(current, startsAt) {
      if (current !== undefined) assertSettled(body, current)
      const fields = take === 'last' ? fieldsOf(task) : mergeInto(current, body, task, registered)
      assertInTime(fields, startsAt)
      return fields
    },
  }
}

function fieldsOf({ title, priority, tags, payload, more }: NewTask): DebouncedFields {
  return { title, priority, tags, payload, expiresAt: more?.expiresAt ?? null }
}

/** @throws NewTaskError if the payload then does not fit its type, or is too large */
function mergeInto(
  current: DebouncedTask | undefined,
  body: CreateTask,
  task: NewTask,
  registered: RegisteredType,
): DebouncedFields {
  const { payload, errors } = registered.readPayload(
    mergePatch(current?.payload ?? {}, body.payload === undefined ? {} : body.payload),
  )
  const located = errors.map((error) => ({ ...error, pointer: `/payload${error.pointer}` }))
  const [first] = located
  if (first !== undefined) {
    const of = current === undefined ? 'alone' : `merged into that of the task ${current.id}`
    throw new NewTaskError(
      'invalid_payload',
      `The payload, ${of}, does not fit ${task.type}: ${first.pointer} ${first.detail}`,
      located,
    )
  }
  assertSize(payload)
  const own = fieldsOf(task)
  return {
    title: current === undefined || body.title !== undefined ? own.title : current.title,
    priority: current === undefined || body.priority !== undefined ? own.priority : current.priority,
    tags: current === undefined || body.tags !== undefined ? own.tags : current.tags,
    expiresAt: current === undefined || body.expiresAt !== undefined ? own.expiresAt : current.expiresAt,
    payload,
  }
}

/** A payload that grows with each create stays as small as one that came in one request. @throws NewTaskError */
function assertSize(payload: unknown): void {
  const bytes = Buffer.byteLength(JSON.stringify(payload))
  if (bytes <= MAX_BODY_BYTES) return
  const detail = `would have ${bytes} bytes after the merge, more than ${MAX_BODY_BYTES}`
  throw new NewTaskError('invalid_payload', `/payload ${detail}`, [
    { pointer: '/payload', detail, fix: 'Remove fields by sending null for them, or use another debounce.key.' },
  ])
}

/** @throws NewTaskError */
function assertInTime({ expiresAt }: DebouncedFields, startsAt: Date): void {
  if (expiresAt === null || Date.parse(expiresAt) > startsAt.getTime()) return
  const detail = `is ${expiresAt}, before the task could start (${startsAt.toISOString()})`
  throw new NewTaskError('invalid_task', `/expiresAt ${detail}`, [
    { pointer: '/expiresAt', detail, fix: 'Send a later expiry, or a shorter debounce.delayMs.' },
  ])
}

/** @throws NewTaskError naming each field that asks for something else than the task has */
function assertSettled(body: CreateTask, current: DebouncedTask): void {
  const asked: Partial<Record<keyof SettledFields, unknown>> = {
    queue: body.queue,
    callbackUrl: body.callbackUrl,
    concurrencyKey: body.concurrencyKey,
    sequenceKey: body.sequenceKey,
    onFailure: body.onFailure,
    cost: body.cost,
  }
  const errors = Object.entries(asked).flatMap(([name, value]): FieldError[] =>
    value === undefined || value === current[name as keyof SettledFields]
      ? []
      : [
          {
            pointer: `/${name}`,
            detail: `is not that of the task ${current.id}, which has the debounce key`,
            fix: 'Send the same with each create, leave it out, or use another debounce.key.',
          },
        ],
  )
  const [first] = errors
  if (first !== undefined) throw new NewTaskError('invalid_task', `${first.pointer} ${first.detail}`, errors)
}
