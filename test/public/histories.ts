/** Histories that the protocol allows, generated from random numbers, and the messages that a server sends for them. */
import fc from 'fast-check'
import { fold } from '../../public/task-stream.js'
import { IDLE_STATUSES, INITIAL_STATUSES, isFinal, TRANSITIONS, type Status } from '../../src/protocol/status.js'
import type { ProgressMessage, SnapshotMessage, StreamMessage, TransitionMessage } from '../../src/protocol/stream.js'
import type { EditedField, Task } from '../../src/protocol/task.js'
import { sampleTask } from '../helpers/sample-task.js'

export const TASK_ID = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'

/** The time `seconds` after an arbitrary start. */
export function at(seconds: number): string {
  return new Date(Date.UTC(2026, 10, 20) + seconds * 1000).toISOString()
}

export function makeTask(fields: Partial<Task> = {}): Task {
  return sampleTask(TASK_ID, { title: 'example task', createdAt: at(0), ...fields })
}

export function transition(
  version: number,
  status: Status,
  fields: Partial<TransitionMessage> = {},
): TransitionMessage {
  const head = { type: 'transition', taskId: TASK_ID, status, version } as const
  return { ...head, from: null, attempt: 1, at: at(version), reason: null, ...fields }
}

export function progress(version: number, fraction: number, fields: Partial<ProgressMessage> = {}): ProgressMessage {
  const value = { fraction, done: null, total: null, message: null, at: at(version + fraction) }
  return { type: 'progress', taskId: TASK_ID, status: 'PROCESSING', version, attempt: 1, progress: value, ...fields }
}

export function snapshot(task: Task): SnapshotMessage {
  return { type: 'snapshot', taskId: task.id, status: task.status, version: task.version, task }
}

/** The life of a task: its creation and every later change, in order. Often unfinished. */
export interface History {
  first: Task
  messages: (TransitionMessage | ProgressMessage)[]
}

export const anyHistory: fc.Arbitrary<History> = fc
  .record({ first: fc.constantFrom(...INITIAL_STATUSES), choices: fc.array(fc.nat({ max: 99 }), { maxLength: 24 }) })
  .map(({ first, choices }) => live(makeTask({ status: first }), choices))

/** Like `anyHistory`, but the task has ended. */
export const anyEndedHistory: fc.Arbitrary<History> = anyHistory.map(({ first, messages }) => {
  const task = endOf({ first, messages })
  return { first, messages: [...messages, ...pathToEnd(task)] }
})

/** The task after all changes. */
export function endOf({ first, messages }: History): Task {
  return messages.reduce<Task>((task, message) => fold(task, message).task, first)
}

/**
 * The messages that a server sends to a client with `since`: the missed transitions, and the progress of the running
 * attempt.
 */
export function refill(history: History, since: number): StreamMessage[] {
  const end = endOf(history)
  const missed = history.messages.filter((message) => message.type === 'transition' && message.version > since)
  const latest = history.messages.findLast((message) => message.type === 'progress' && message.version === end.version)
  const head: StreamMessage = { type: 'resumed', taskId: TASK_ID, status: end.status, version: since }
  return [head, ...missed, ...(latest ? [latest] : [])]
}

function live(first: Task, choices: number[]): History {
  const messages: History['messages'] = []
  let task = first
  for (const choice of choices) {
    const message = happen(task, choice)
    if (message === undefined) break
    messages.push(message)
    task = fold(task, message).task
  }
  return { first, messages }
}

function happen(task: Task, choice: number): TransitionMessage | ProgressMessage | undefined {
  const next = TRANSITIONS[task.status]
  const status = next[choice % next.length]
  if (status === undefined) return undefined
  if (task.status === 'PROCESSING' && choice > 40) {
    const fraction = Math.min(1, (task.progress?.fraction ?? 0) + 0.125)
    return progress(task.version, fraction, { attempt: task.attempt })
  }
  if (IDLE_STATUSES.includes(task.status) && choice > 60) return edit(task, choice)
  return moveTo(task, status)
}

function edit(task: Task, choice: number): TransitionMessage {
  const version = task.version + 1
  const changes = {
    title: `edit ${version}`,
    ...(choice % 2 === 0 && { payload: { choice } }),
    ...(choice % 3 === 0 && { tags: [`${choice}`] }),
  }
  return transition(version, task.status, {
    from: task.status,
    attempt: task.attempt,
    edited: Object.keys(changes) as EditedField[],
    changes,
    ...(task.runAt && { runAt: task.runAt }),
  })
}

function moveTo(task: Task, status: Status): TransitionMessage {
  const version = task.version + 1
  const attempt = status === 'PROCESSING' ? task.attempt + 1 : task.attempt
  return transition(version, status, {
    from: task.status,
    attempt,
    ...(status === 'RETRYING' && { runAt: at(version + 5) }),
    ...(status === 'COMPLETED' && { result: { attempt } }),
    ...(status === 'FAILED' && { failure: { code: 'error', message: `attempt ${attempt}`, attempt } }),
  })
}

function pathToEnd(task: Task): TransitionMessage[] {
  if (isFinal(task.status)) return []
  const towards: Partial<Record<Status, Status>> = {
    WAITING: 'PENDING',
    SCHEDULED: 'PENDING',
    PENDING: 'PROCESSING',
    RETRYING: 'PROCESSING',
  }
  const message = moveTo(task, towards[task.status] ?? 'COMPLETED')
  return [message, ...pathToEnd(fold(task, message).task)]
}
