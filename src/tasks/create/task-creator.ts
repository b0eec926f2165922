/**
 * Accepts new tasks: stores them, answers with what was stored, dispatches those that may start at once to the broker
 * without waiting for it, and notifies watched lists.
 *
 * Creates that arrive together are written together; those with an `Idempotency-Key` have separate batches. Tasks with
 * a unique key, and whole batches with an idempotency key, each use a transaction. Creates with a debounce key that arrive
 * together share one, so that those of one key do not wait for each other on a connection each.
 */
import type { Principal } from '../../access/principal.js'
import { crashPoint } from '../../crash-point.js'
import type { Database } from '../../db/database.js'
import { isRefusedStatement } from '../../db/refused-data.js'
import type { Event } from '../../protocol/stream.js'
import type { Task, TaskId, TaskSummary } from '../../protocol/task.js'
import type { AttemptRef } from '../../store/attempts/claim.js'
import { readSummaries, readTasks } from '../../store/reads/tasks.js'
import { createUniqueTasks, KeyTakenError, readBatchOfKey, type UniqueAnswer } from '../../store/tasks/create-unique.js'
import { createTasksOnce, type KeyedTask, type OnceAnswer } from '../../store/tasks/create-once.js'
import { createTasks, type CreatedTask, type NewTask } from '../../store/tasks/create.js'
import { createBatcher, type Batcher } from '../../timing/batcher.js'
import type { GateCache } from '../release/gate-cache.js'
import type { Releaser } from '../release/releaser.js'
import { NewTaskError, toNewTaskView } from './new-task.js'

/** Passes deliveries to the broker: see `broker/dispatcher.ts`. */
export interface DeliveryDispatcher {
  /** Whether deliveries of this queue that are written now will be dispatched. */
  isOpen(queue: string): boolean
  add(deliveries: readonly (AttemptRef & { queue: string; priority: number })[]): void
}

export interface TaskCreatorOptions {
  db: Database
  dispatcher: DeliveryDispatcher
  /** Called after the commit; `created` has an entry for each task, undefined for one that was not created. */
  announce: (tasks: readonly NewTask[], created: readonly (CreatedTask | undefined)[]) => void
  /** Called after the commit with the events of tasks that a create has changed. */
  publish: (events: readonly Event[]) => void
  /** How long workers have to claim a dispatched delivery. */
  claimWindowMs: number
  /** How long an `Idempotency-Key` is kept. */
  keyTtlMs: number
  gates: Pick<GateCache, 'mark'>
  releaser: Pick<Releaser, 'wake'>
}

/** The key of a request and the fingerprint of its body. */
export type RequestKey = Pick<KeyedTask, 'key' | 'fingerprint'>

interface Accepted<View extends TaskSummary = Task> {
  task: View
  /**
   * `replayed`: created by an earlier request with the same key. `existing`: an unfinished task has the same unique
   * key. `debounced`: a task with the same debounce key had not started, and was changed.
   */
  kind: 'created' | 'replayed' | 'existing' | 'debounced'
}

/** The key of a request was used before with another body. */
export class KeyReusedError extends Error {
  override readonly name = 'KeyReusedError'

  constructor(key: string) {
    super(`The key ${key} was used before with another body.`)
  }
}

/** How tasks are shown to the client: new ones, and those that existed before. */
interface Views<View extends TaskSummary> {
  ofNew(task: NewTask, created: CreatedTask): View
  read(principal: Principal, db: Database, ids: readonly TaskId[]): Promise<View[]>
}

const WHOLE: Views<Task> = { ofNew: toNewTaskView, read: readTasks }
const SUMMARIES: Views<TaskSummary> = {
  ofNew: (task, created) => withoutContents(toNewTaskView(task, created)),
  read: readSummaries,
}

function withoutContents(task: Task): TaskSummary {
  const summary: TaskSummary = { ...task }
  delete summary.payload
  delete summary.result
  return summary
}

export class TaskCreator {
  readonly #options: TaskCreatorOptions
  readonly #creates: Batcher<NewTask, CreatedTask>
  readonly #keyedCreates: Batcher<KeyedTask, OnceAnswer>
  /** By tenant, while there are any. */
  readonly #debouncedCreates = new Map<string, Batcher<NewTask, Accepted>>()

  constructor(options: TaskCreatorOptions) {
    const { db, claimWindowMs, keyTtlMs } = options
    this.#options = options
    this.#creates = createBatcher({
      write: (tasks) =>
        this.#write(
          tasks,
          (marked) => createTasks(db, marked, claimWindowMs),
          (created) => created,
        ),
      isItemsFault: isRefusedStatement,
    })
    this.#keyedCreates = createBatcher({
      write: (tasks) =>
        this.#write(
          tasks,
          (marked) => createTasksOnce(db, marked, claimWindowMs, keyTtlMs),
          (answer) => (answer.kind === 'created' ? answer.created : undefined),
        ),
      isItemsFault: isRefusedStatement,
    })
  }

  /** @throws KeyReusedError */
  async accept(principal: Principal, task: NewTask, key: RequestKey | undefined): Promise<Accepted> {
    if (task.debounce !== undefined && key === undefined) return this.#debouncedCreatesOf(principal).add(task)
    if (task.more?.uniqueKey !== undefined || task.debounce !== undefined) {
      const [accepted] = await this.#acceptTogether(principal, [task], key, WHOLE)
      if (accepted === undefined) throw new Error('the store did not answer')
      return accepted
    }
    if (key === undefined) return { task: toNewTaskView(task, await this.#creates.add(task)), kind: 'created' }
    const answer = await this.#keyedCreates.add({ ...task, ...key })
    if (answer.kind === 'mismatch') throw new KeyReusedError(key.key)
    if (answer.kind === 'repeated') return { task: answer.task, kind: 'replayed' }
    return { task: toNewTaskView(task, answer.created), kind: 'created' }
  }

  /**
   * All tasks, or none. The answer has no payloads and results: together they have no bound.
   * @throws KeyReusedError
   */
  acceptAll(
    principal: Principal,
    tasks: readonly NewTask[],
    key: RequestKey | undefined,
  ): Promise<Accepted<TaskSummary>[]> {
    return this.#acceptTogether(principal, tasks, key, SUMMARIES)
  }

  /** Resolves when no create waits and none is being written. */
  async whenIdle(): Promise<void> {
    const batchers = [this.#creates, this.#keyedCreates, ...this.#debouncedCreates.values()]
    await Promise.all(batchers.map((batcher) => batcher.whenIdle()))
  }

  #debouncedCreatesOf(principal: Principal): Batcher<NewTask, Accepted> {
    const { tenant } = principal
    const known = this.#debouncedCreates.get(tenant)
    if (known !== undefined) return known
    const batcher = createBatcher<NewTask, Accepted>({
      write: async (tasks) => {
        const accepted = await this.#acceptTogether(principal, tasks, undefined, WHOLE)
        if (this.#debouncedCreates.get(tenant) === batcher) void this.#forgetWhenIdle(tenant, batcher)
        return accepted
      },
      // One transaction at a time: the next would wait for the same keys.
      maxInFlight: 1,
      isItemsFault: (error) => error instanceof NewTaskError || isRefusedStatement(error),
    })
    this.#debouncedCreates.set(tenant, batcher)
    return batcher
  }

  async #forgetWhenIdle(tenant: string, batcher: Batcher<NewTask, Accepted>): Promise<void> {
    await batcher.whenIdle()
    if (this.#debouncedCreates.get(tenant) === batcher) this.#debouncedCreates.delete(tenant)
  }

  /** Creates the tasks in one transaction. */
  async #acceptTogether<View extends TaskSummary>(
    principal: Principal,
    tasks: readonly NewTask[],
    key: RequestKey | undefined,
    views: Views<View>,
  ): Promise<Accepted<View>[]> {
    const { db, claimWindowMs, keyTtlMs, publish } = this.#options
    const once = key && { ...key, ttlMs: keyTtlMs }
    try {
      const answers = await this.#write(
        tasks,
        async (marked) => {
          const { answers, events } = await createUniqueTasks(principal, db, marked, claimWindowMs, once)
          if (events.length > 0) publish(events)
          return answers
        },
        (answer) => (answer.kind === 'created' ? answer.created : undefined),
        (answer, task) => (answer.kind === 'created' ? answer.task : task),
      )
      const existing = await this.#read(
        principal,
        answers.flatMap((answer) => (answer.kind === 'created' ? [] : [answer.id])),
        views,
      )
      return answers.map((answer) => toAccepted(answer, existing, views))
    } catch (error) {
      if (!(error instanceof KeyTakenError) || key === undefined) throw error
      return this.#replay(principal, tasks, key, views)
    }
  }

  async #replay<View extends TaskSummary>(
    principal: Principal,
    tasks: readonly NewTask[],
    key: RequestKey,
    views: Views<View>,
  ): Promise<Accepted<View>[]> {
    const known = await readBatchOfKey(principal, this.#options.db, key.key)
    // The key expired in between, so it is free again.
    if (known === undefined) return this.#acceptTogether(principal, tasks, key, views)
    if (known.fingerprint !== key.fingerprint) throw new KeyReusedError(key.key)
    const found = await this.#read(principal, known.ids, views)
    return known.ids.flatMap((id) => found.get(id) ?? []).map((task) => ({ task, kind: 'replayed' }))
  }

  async #read<View extends TaskSummary>(
    principal: Principal,
    ids: readonly TaskId[],
    views: Views<View>,
  ): Promise<Map<TaskId, View>> {
    const found = ids.length === 0 ? [] : await views.read(principal, this.#options.db, ids)
    return new Map(found.map((task) => [task.id, task]))
  }

  /**
   * Writes tasks, and dispatches those that were created and may start. Each queue is checked by itself: tasks of a
   * closed queue are left to the relay, and do not hold up tasks written with them. Gated tasks are released.
   *
   * @param storedOf a task as it was stored, where that differs
   */
  async #write<Task extends NewTask, Answer>(
    tasks: readonly Task[],
    store: (tasks: readonly Task[]) => Promise<Answer[]>,
    createdOf: (answer: Answer) => CreatedTask | undefined,
    storedOf?: (answer: Answer, task: NewTask) => NewTask,
  ): Promise<Answer[]> {
    const { dispatcher, announce, gates, releaser } = this.#options
    const marked = tasks.map((task) => {
      const known = gates.mark(task)
      return known.isGated !== true && dispatcher.isOpen(task.queue) ? known : { ...known, isHandedOver: false }
    })
    crashPoint('create:before-commit')
    const answers = await store(marked)
    crashPoint('create:after-commit')
    const created = answers.map(createdOf)
    const stored = storedOf ? answers.map((answer, index) => storedOf(answer, marked[index] as NewTask)) : marked
    const ready = stored.filter(
      ({ isHandedOver = true }, index) => isHandedOver && created[index]?.status === 'PENDING',
    )
    if (ready.length > 0)
      dispatcher.add(ready.map(({ id, queue, priority }) => ({ taskId: id, attempt: 1, queue, priority })))
    if (marked.some(({ isGated }) => isGated)) releaser.wake()
    announce(stored, created)
    return answers
  }
}

function toAccepted<View extends TaskSummary>(
  answer: UniqueAnswer,
  existing: ReadonlyMap<TaskId, View>,
  { ofNew }: Views<View>,
): Accepted<View> {
  if (answer.kind === 'created') return { task: ofNew(answer.task, answer.created), kind: 'created' }
  const known = existing.get(answer.id)
  if (known === undefined) throw new Error(`the task ${answer.id} was deleted in the meantime`)
  return { task: known, kind: answer.kind }
}
