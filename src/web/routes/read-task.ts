/**
 * One task over REST: as it stands, now or when it has changed; and what happened to it, as a list or as a stream.
 *
 * `GET /api/tasks/:id/events` has three faces, chosen by `Accept`: the stored list (JSON, the default), a stream of
 * server-sent events, and a stream of lines for people. The streams are the hub's, as over a WebSocket.
 */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Database } from '../../db/database.js'
import { isRefusedStatement } from '../../db/refused-data.js'
import type { Hub } from '../../live/hub.js'
import { Problem } from '../../protocol/errors.js'
import { AttemptList, AttemptsQuery, LogPage, LogsQuery, NoBody, ReadTaskQuery, StreamQuery, TaskParams, TransitionList } from '../../protocol/http.js'
import { DEFAULT_LOG_LINES } from '../../protocol/limits.js'
import { isFinal } from '../../protocol/status.js'
import { Task, type TaskId } from '../../protocol/task.js'
import { readLogs } from '../../store/attempts/logs.js'
import { readAttemptPage, readHistory, readTasks } from '../../store/reads/tasks.js'
import { createBatcher } from '../../timing/batcher.js'
import { etagOf, hasEtag } from '../etag.js'
import { chooseFormat } from '../live/event-format.js'
import { readLastEventId, type HttpStreams } from '../live/http-stream.js'
import type { StreamLimits } from '../live/stream-limits.js'
import { waitForTask } from '../live/wait-for-task.js'
import { ProblemError } from '../problem.js'
import type { Reading } from '../reading.js'
import { DEFAULT_TENANT } from '../tenant.js'

export interface ReadTaskDeps {
  db: Database
  reading: Reading
  hub: Hub
  limits: StreamLimits
  streams: HttpStreams
}

/** Tasks in one statement: together a few megabytes at most, unless all of them are as large as a task may be. */
const MAX_READS_PER_STATEMENT = 64

export const readTaskRoutes: FastifyPluginAsyncTypebox<ReadTaskDeps> = async (app, { db, reading, hub, limits, streams }) => {
  /** Reads that arrive together are one statement, as writes are. It begins after each of them was asked for. */
  const reads = createBatcher<TaskId, Task | undefined>({
    maxBatch: MAX_READS_PER_STATEMENT,
    isItemsFault: isRefusedStatement,
    async write(ids) {
      const tasks = new Map((await readTasks(db, DEFAULT_TENANT, ids)).map((task) => [task.id, task]))
      return ids.map((id) => tasks.get(id))
    },
  })

  async function read(id: TaskId): Promise<Task> {
    const task = await reads.add(id)
    if (task === undefined) throw taskNotFound(id)
    return task
  }

  app.get(
    '/api/tasks/:id',
    {
      schema: {
        tags: ['tasks'],
        operationId: 'readTask',
        summary: 'Read a task',
        description:
          'With `wait`, once it has changed: `?wait=30&since=3` answers when its version is not 3 any more, `?wait=30` when ' +
          'it has ended, and both after 30 s at the latest. A wait counts as a stream. `ETag` is its state; `If-None-Match` with it is answered with 304.',
        params: TaskParams,
        querystring: ReadTaskQuery,
        response: { 200: Task, 304: NoBody, 400: Problem, 404: Problem, 429: Problem, 503: Problem },
      },
    },
    async (request, reply) => {
      const { wait = 0, since } = request.query
      const id = request.params.id.toLowerCase()
      // Nobody waits for the headers of an answer alone.
      if (wait > 0 && request.method !== 'HEAD') {
        const leave = limits.enter(request)
        try {
          if (await hub.find(id)) await waitForTask(hub, id, { since: toVersion(since), waitMs: wait * 1_000, client: reply.raw })
        } finally {
          leave()
        }
      }
      const task = await read(id)
      const etag = etagOf(task)
      reply.header('etag', etag).header('cache-control', 'no-cache')
      if (hasEtag(request.headers['if-none-match'] ?? '', etag)) return reply.code(304).send(undefined)
      return task
    },
  )

  app.get(
    '/api/tasks/:id/events',
    {
      schema: {
        tags: ['tasks'],
        operationId: 'readTaskEvents',
        summary: 'Read or follow the history of a task',
        description:
          'By `Accept`: `application/json` (default) is the stored list, oldest first (pass `nextSince` as `since` for the next page); `text/event-stream` a stream of ' +
          'server-sent events that begins with a snapshot, or after `Last-Event-ID` or `since`; `text/plain` the same as lines. ' +
          'A stream ends with the task. 204: the task has ended, and the client has seen it.',
        params: TaskParams,
        querystring: StreamQuery,
        response: { 200: TransitionList, 204: NoBody, 400: Problem, 404: Problem, 429: Problem, 503: Problem },
      },
    },
    async (request, reply) => {
      const id = request.params.id.toLowerCase()
      const format = chooseFormat(request.headers.accept)
      if (format === undefined) {
        const after = toVersion(request.query.since) ?? 0
        const { items, next } = await readHistory(reading.byKey, DEFAULT_TENANT, id, after)
        if (items.length === 0) await read(id)
        return { items, nextSince: next }
      }
      const since = toVersion(readLastEventId(request, /^[0-9]{1,9}$/, 'a version') ?? request.query.since)
      limits.assertRoom(request)
      if (!(await hub.find(id))) throw taskNotFound(id)
      const task = hub.task(id)
      // An EventSource comes back after the end, too; this is how it is told to stop.
      if (task && isFinal(task.status) && task.version === since) return reply.code(204).send(undefined)
      streams.follow(id, { since, logs: request.query.logs === '1', format, onEnd: limits.enter(request) }, reply)
      return reply
    },
  )

  app.get(
    '/api/tasks/:id/attempts',
    {
      schema: {
        tags: ['tasks'],
        operationId: 'listAttempts',
        summary: 'Read the runs of a task',
        description: 'Oldest first: when and where each ran, how it ended, and what it threw. Pass `nextAfter` as `after` for the next page.',
        params: TaskParams,
        querystring: AttemptsQuery,
        response: { 200: AttemptList, 400: Problem, 404: Problem },
      },
    },
    async (request) => {
      const { id } = await read(request.params.id.toLowerCase())
      const { items, next } = await readAttemptPage(reading.byKey, DEFAULT_TENANT, id, request.query.after ?? 0)
      return { items, nextAfter: next }
    },
  )

  app.get(
    '/api/tasks/:id/logs',
    {
      schema: {
        tags: ['tasks'],
        operationId: 'listLogs',
        summary: 'Read what the handler has logged',
        description: 'Oldest first, of all attempts. Pass `nextAfter` as `after` for the next page. The stream has them live, with `logs=1`.',
        params: TaskParams,
        querystring: LogsQuery,
        response: { 200: LogPage, 400: Problem, 404: Problem },
      },
    },
    async (request) => {
      const { after = 0, limit = DEFAULT_LOG_LINES } = request.query
      const { id } = await read(request.params.id.toLowerCase())
      const { items, next } = await readLogs(reading.byKey, DEFAULT_TENANT, id, after, limit)
      return { items, nextAfter: next }
    },
  )
}

function taskNotFound(id: TaskId): ProblemError {
  return new ProblemError('task_not_found', `There is no task ${id}.`)
}

function toVersion(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text)
}
