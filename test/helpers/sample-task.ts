/** Tasks as clients see them, for tests without PostgreSQL. */
import { linksOf, type Task, type TaskId, type TaskSummary } from '../../src/protocol/task.js'

export function sampleSummary(id: TaskId, fields: Partial<TaskSummary> = {}): TaskSummary {
  return {
    id,
    title: 'a task',
    type: 'demo.sleep',
    status: 'PENDING',
    version: 1,
    attempt: 0,
    maxAttempts: 1,
    queue: 'default',
    priority: 0,
    tags: [],
    progress: null,
    failure: null,
    runAt: null,
    expiresAt: null,
    createdAt: '2026-11-20T21:22:23.456Z',
    startedAt: null,
    finishedAt: null,
    uniqueKey: null,
    parentId: null,
    batchId: null,
    callbackUrl: null,
    concurrencyKey: null,
    sequenceKey: null,
    onFailure: null,
    cost: 1,
    schedule: null,
    links: linksOf(id),
    ...fields,
  }
}

export function sampleTask(id: TaskId, fields: Partial<Task> = {}): Task {
  return { ...sampleSummary(id), payload: {}, result: null, ...fields }
}
