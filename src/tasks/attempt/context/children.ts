/** `ctx.create`: tasks whose parent is the handler's task. The same call in each attempt creates one task. */
import type { Principal } from '../../../access/principal.js'
import type { Database } from '../../../db/database.js'
import type { CreateChildOptions } from '../../../definitions/definition.js'
import type { Registry } from '../../../definitions/registry.js'
import { createChecker } from '../../../definitions/schema-errors.js'
import type { FieldError } from '../../../protocol/errors.js'
import { CreateTask, MAX_BODY_DEPTH } from '../../../protocol/http.js'
import type { TaskId } from '../../../protocol/task.js'
import { createTaskOnce } from '../../../store/tasks/create-unique.js'
import { boundKey } from '../../create/bounded-key.js'
import { NewTaskError, readNewTask } from '../../create/new-task.js'
import type { Recorder } from '../recorder.js'
import { describeViolation, toStorable } from '../storable.js'
import type { AttemptFence } from './attempt-fence.js'

/** How long a later attempt's create is recognized as a repetition of an earlier one. */
const CHILD_KEY_TTL_MS = 30 * 86_400_000
const childChecker = createChecker(CreateTask)

interface ChildrenDeps {
  db: Database
  registry: Registry
  recorder: Pick<Recorder, 'announce'>
}

export class Children {
  readonly #principal: Principal
  readonly #fence: AttemptFence
  readonly #deps: ChildrenDeps
  readonly #created = new Map<string, number>()

  /** @param principal of the parent's tenant, which is the children's too */
  constructor(principal: Principal, fence: AttemptFence, deps: ChildrenDeps) {
    this.#principal = principal
    this.#fence = fence
    this.#deps = deps
  }

  /** See `TaskContext.create`. */
  async create(type: string, payload: unknown, given: CreateChildOptions): Promise<TaskId> {
    const { child, key } = readChild(type, payload, given)
    const name = this.#name(type, key)
    const { taskId: parentId } = this.#fence.ref
    const task = readNewTask(child, { tenant: this.#principal.tenant, parentId }, this.#deps.registry)
    await this.#fence.assertCurrent()
    const once = { key: boundKey(`child of ${parentId}: ${name}`), fingerprint: type, ttlMs: CHILD_KEY_TTL_MS }
    const { db, recorder } = this.#deps
    const { id, events } = await this.#fence.whenDatabaseAnswers(() => createTaskOnce(this.#principal, db, task, once))
    for (const event of events) recorder.announce(event)
    return id
  }

  /** The same call in each attempt has the same name, as long as the handler makes its calls in the same order. */
  #name(type: string, key: string | undefined): string {
    if (key !== undefined) return `key ${key}`
    const count = (this.#created.get(type) ?? 0) + 1
    this.#created.set(type, count)
    return `${type} ${count}`
  }
}

/** Applies the rules for clients to the arguments of `ctx.create`. @throws NewTaskError */
export function readChild(
  type: string,
  payload: unknown,
  given: CreateChildOptions,
): { child: CreateTask; key: string | undefined } {
  if (typeof type !== 'string') throw wrongCall({ pointer: '/type', detail: 'must be a string' })
  const { key, ...options } = given ?? {}
  if (key !== undefined && typeof key !== 'string') throw wrongCall({ pointer: '/key', detail: 'must be a string' })
  const child = { ...options, type, ...(payload !== undefined && { payload }) }
  const stored = toStorable(child, { maxBytes: Infinity, maxDepth: MAX_BODY_DEPTH })
  const errors = stored.violation ? [stored.violation] : childChecker.check(stored.value)
  const [first, ...others] = errors
  if (first !== undefined) throw wrongCall(first, ...others)
  return { child: stored.value as CreateTask, key }
}

function wrongCall(first: FieldError, ...others: FieldError[]): NewTaskError {
  const message = `the arguments of ctx.create do not fit: ${describeViolation(first)}`
  return new NewTaskError('invalid_task', message, [first, ...others])
}
