/**
 * Takes new tasks in: stores them, answers with what was stored, and hands what may start at once to the broker, which nobody
 * waits for. Watched lists are told of them, too.
 *
 * Creates that arrive together are written together, those with an `Idempotency-Key` in batches of their own. Tasks with a
 * unique key, and whole batches with a key, take a transaction each.
 */
import { crashPoint } from '../crash-point.js'
import type { Database } from '../db/database.js'
import type { Task } from '../protocol/task.js'
import { createBatcher } from '../tasks/batcher.js'
import { toNewTaskView } from '../tasks/new-task.js'
import {
  createTasks,
  createTasksOnce,
  createUniqueTasks,
  KeyTakenError,
  readBatchOfKey,
  type CreatedTask,
  type KeyedTask,
  type NewTask,
  type OnceAnswer,
  type UniqueAnswer,
} from '../tasks/store/index.js'
import type { Announcer } from './announcer.js'
import type { HandOver } from './hand-over.js'
import { ProblemError } from './problem.js'

export interface IntakeOptions {
  db: Database
  handOver: HandOver
  announcer: Announcer
  /** How long workers have to claim what was handed over. */
  claimWindowMs: number
  /** How long an `Idempotency-Key` is kept. */
  keyTtlMs: number
}

/** The key of a request and what came with it. */
export type RequestKey = Pick<KeyedTask, 'key' | 'fingerprint'>

export interface Accepted {
  task: Task
  /** `replayed`: by an earlier request with the same key. `existing`: an unfinished task has the same unique key. */
  kind: 'created' | 'replayed' | 'existing'
}

export interface Intake {
  /** @throws ProblemError `key_reused` */
  accept(task: NewTask, key: RequestKey | undefined): Promise<Accepted>
  /** All, or none. @throws ProblemError `key_reused` */
  acceptAll(tasks: readonly NewTask[], key: RequestKey | undefined): Promise<Accepted[]>
  whenIdle(): Promise<void>
}

export function createIntake({ db, handOver, announcer, claimWindowMs, keyTtlMs }: IntakeOptions): Intake {
  /**
   * Writes tasks, and hands over those that were created and may start. Each by its own queue: tasks of a queue that is closed are
   * the relay's, and those that are written with them are not held up.
   */
  async function write<Task extends NewTask, Answer>(
    tasks: readonly Task[],
    store: (tasks: readonly Task[]) => Promise<Answer[]>,
    createdOf: (answer: Answer) => CreatedTask | undefined,
  ): Promise<Answer[]> {
    const marked = tasks.map((task) => (handOver.isOpen(task.queue) ? task : { ...task, isHandedOver: false }))
    crashPoint('create:before-commit')
    const answers = await store(marked)
    crashPoint('create:after-commit')
    const created = answers.map(createdOf)
    const ready = marked.filter(({ isHandedOver = true }, index) => isHandedOver && created[index]?.status === 'PENDING')
    if (ready.length > 0) handOver.add(ready.map(({ id, queue, priority }) => ({ taskId: id, attempt: 1, queue, priority })))
    announcer.announce(marked, created)
    return answers
  }

  const creates = createBatcher<NewTask, CreatedTask>({
    write: (tasks) => write(tasks, (marked) => createTasks(db, marked, claimWindowMs), (created) => created),
  })
  const keyedCreates = createBatcher<KeyedTask, OnceAnswer>({
    write: (tasks) =>
      write(tasks, (marked) => createTasksOnce(db, marked, claimWindowMs, keyTtlMs), (answer) => (answer.kind === 'created' ? answer.created : undefined)),
  })

  async function acceptAll(tasks: readonly NewTask[], key: RequestKey | undefined): Promise<Accepted[]> {
    const once = key && { ...key, ttlMs: keyTtlMs }
    try {
      const answers = await write(tasks, (marked) => createUniqueTasks(db, marked, claimWindowMs, once), (answer) => (answer.kind === 'created' ? answer.created : undefined))
      return tasks.map((task, index) => toAccepted(task, answers[index]))
    } catch (error) {
      if (!(error instanceof KeyTakenError) || key === undefined) throw error
      return replay(tasks, key)
    }
  }

  async function replay(tasks: readonly NewTask[], key: RequestKey): Promise<Accepted[]> {
    const known = await readBatchOfKey(db, tasks[0]?.tenant ?? '', key.key)
    // It ran out in between, which makes it free.
    if (known === undefined) return acceptAll(tasks, key)
    if (known.fingerprint !== key.fingerprint) throw keyReused(key)
    return known.tasks.map((task) => ({ task, kind: 'replayed' }))
  }

  return {
    async accept(task, key) {
      if (task.more?.uniqueKey !== undefined) {
        const [accepted] = await acceptAll([task], key)
        if (accepted === undefined) throw new Error('the store did not answer')
        return accepted
      }
      if (key === undefined) return { task: toNewTaskView(task, await creates.add(task)), kind: 'created' }
      const answer = await keyedCreates.add({ ...task, ...key })
      if (answer.kind === 'mismatch') throw keyReused(key)
      if (answer.kind === 'repeated') return { task: answer.task, kind: 'replayed' }
      return { task: toNewTaskView(task, answer.created), kind: 'created' }
    },
    acceptAll,
    async whenIdle() {
      await Promise.all([creates.whenIdle(), keyedCreates.whenIdle()])
    },
  }
}

function toAccepted(task: NewTask, answer: UniqueAnswer | undefined): Accepted {
  if (answer === undefined) throw new Error('the store did not answer')
  return answer.kind === 'existing' ? { task: answer.task, kind: 'existing' } : { task: toNewTaskView(task, answer.created), kind: 'created' }
}

function keyReused({ key }: RequestKey): ProblemError {
  return new ProblemError('key_reused', `The key ${key} came with another body before.`, [
    { pointer: '/idempotency-key', detail: 'was used for another request' },
  ])
}
