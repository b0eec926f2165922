/**
 * The client of Taskwire's streams: create a task, watch it, know when it ends. For browsers and Node, without
 * dependencies and without a DOM. Types: `task-stream.d.ts`.
 *
 *     for await (const { task } of watchTask(id)) console.log(task.status)
 *
 * A watch guarantees that every version it receives is reported exactly once and in order, whatever the network does,
 * and that it ends when the task has ended.
 *
 * 1. Connect to `/ws/tasks/:id`; once a task is held, with `?since=<version>`, so that only missed messages are sent.
 * 2. Fold each message into the task (see `fold`) and report those that changed it.
 * 3. Connection lost: wait (exponential backoff, full jitter) and go to 1. A gap between versions: go to 1 at once.
 * 4. No data for 30 s, although a server sends something every 15 s: the connection is dead, however it looks; go to 1
 *    at once.
 * 5. Final status: done. Close code 4500-4999: stop with an error, because a retry would not help.
 *
 * A browser does not show why an upgrade was refused. So an attempt that never opened is followed by one plain GET,
 * which distinguishes "no such task" (stop) from "server away" (keep trying).
 *
 * Where WebSockets are blocked (two attempts delivered nothing, although the server answers plain requests) the watch
 * switches to server-sent events, and where those are held back, to long polling. The steps above stay the same. A
 * fallback that delivers nothing either is replaced in turn, the last one by the first: no transport is given up for
 * good.
 */

import { urlOf } from './client/connections.js'
import { requestJson } from './client/requests.js'
import { TaskWatch } from './client/task-watch.js'
import { TasksWatch } from './client/tasks-watch.js'

export { WatchError } from './client/closes.js'
export { fold } from './client/fold.js'
export { openLive, watchList } from './client/live.js'
export { ConnectionError, ProblemError } from './client/requests.js'
export { isFinal, shouldReconnect } from './protocol.js'

const REQUEST_DEADLINE_MS = 30_000

/** Follows one task until it ends. */
export function watchTask(id, options = {}) {
  return new TaskWatch(id, options)
}

/** Follows a selection of tasks over one WebSocket, until it is closed. */
export function watchTasks(selection, options = {}) {
  return new TasksWatch(selection, options)
}

/**
 * Creates a task and returns it as accepted. Throws `ProblemError` if the server, or a proxy in front of it, refuses
 * it, and `ConnectionError` if no answer arrived.
 */
export async function createTask(
  body,
  { baseUrl, fetch, signal, timeoutMs = REQUEST_DEADLINE_MS, idempotencyKey } = {},
) {
  const { body: task } = await requestJson(urlOf(baseUrl, 'api/tasks'), {
    fetch,
    signal,
    timeoutMs,
    has: 'id',
    method: 'POST',
    body: JSON.stringify(body),
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
      ...(idempotencyKey !== undefined && { 'idempotency-key': `"${idempotencyKey}"` }),
    },
  })
  return task
}

/** Creates a task and waits for its end, whatever the outcome: check `status`. */
export async function runTask(body, options = {}) {
  const task = await createTask(body, options)
  return watchTask(task.id, { ...options, task }).finished
}

/** The same with the task type as the first argument, for a compiler that knows the types: see `task-stream.d.ts`. */
export function createClient(options = {}) {
  return {
    create: (type, payload, more = {}) => createTask({ ...more, type, payload }, options),
    async run(type, payload, more = {}, { onProgress } = {}) {
      const onChange = (change) => {
        if (change.message.type === 'progress') onProgress?.(change.task.progress)
        options.onChange?.(change)
      }
      const task = await runTask({ ...more, type, payload }, { ...options, onChange })
      if (task.status !== 'COMPLETED') throw new TaskEndedError(task)
      return task.result
    },
  }
}

/** The task has ended, but not as COMPLETED. */
export class TaskEndedError extends Error {
  constructor(task) {
    super(task.failure?.message ?? `the task is ${task.status}`)
    this.name = 'TaskEndedError'
    this.task = task
  }
}
