/**
 * One task over REST: its current state, now or once it has changed; and its history, as a list or as a stream.
 *
 * `GET /api/tasks/:id/events` has three formats, selected by `Accept`: the stored list (JSON, the default), a stream of
 * server-sent events, and a stream of text lines. The streams are those of the hub, as over a WebSocket.
 */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Principal } from '../../access/principal.js'
import type { Database } from '../../db/database.js'
import { isRefusedStatement } from '../../db/refused-data.js'
import type { Hub } from '../../live/hub.js'
import { Problem } from '../../protocol/errors.js'
import {
  AttemptList,
  AttemptsQuery,
  LogPage,
  LogsQuery,
  NoBody,
  ReadTaskQuery,
  StreamQuery,
  TaskParams,
  TransitionList,
} from '../../protocol/http.js'
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

export interface ReadTaskDeps {
  db: Database
  reading: Reading
  hub: Hub
  limits: StreamLimits
  streams: HttpStreams
}

interface Asked {
  principal: Principal
  id: TaskId
}

/** Tasks per statement: together a few megabytes at most, unless all of them have the maximum size. */
const MAX_READS_PER_STATEMENT = 64

export const readTaskRoutes: FastifyPluginAsyncTypebox<ReadTaskDeps> = async (
  app,
  { db, reading, hub, limits, streams },
) => {
  /** Reads that arrive together share one statement, as writes do. It starts after each of them was requested. */
  const reads = createBatcher<Asked, Task | undefined>({
    maxBatch: MAX_READS_PER_STATEMENT,
    isItemsFault: isRefusedStatement,
    async write(asked) {
      const ofTenant = new Map(
        await Promise.all(
          [...groupByTenant(asked)].map(
            async ([tenant, { principal, ids }]) => [tenant, await readMap(principal, ids)] as const,
          ),
        ),
      )
      return asked.map(({ principal, id }) => ofTenant.get(principal.tenant)?.get(id))
    },
  })

  async function readMap(principal: Principal, ids: readonly TaskId[]): Promise<Map<TaskId, Task>> {
    return new Map((await readTasks(principal, db, ids)).map((task) => [task.id, task]))
  }

  async function read(principal: Principal, id: TaskId): Promise<Task> {
    const task = await reads.add({ principal, id })
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
          'With `wait` the answer is delayed until the task has changed: `?wait=30&since=3` answers when its version is no longer 3, `?wait=30` when ' +
          'it has ended, and both after 30 s at the latest. A wait counts as a stream. `ETag` identifies the state; `If-None-Match` with the same value is answered with 304.',
        params: TaskParams,
        querystring: ReadTaskQuery,
        response: { 200: Task, 304: NoBody, 400: Problem, 404: Problem, 429: Problem, 503: Problem },
      },
    },
    async (request, reply) => {
      const { wait = 0, since } = request.query
      const id = request.params.id.toLowerCase()
      // HEAD does not wait.
      if (wait > 0 && request.method !== 'HEAD') {
        const leave = limits.enter(request)
        try {
          if (await hub.find(request.principal, id))
            await waitForTask(request.principal, hub, id, {
              since: toVersion(since),
              waitMs: wait * 1_000,
              client: reply.raw,
            })
        } finally {
          leave()
        }
      }
      const task = await read(request.principal, id)
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
          '`Accept` selects the format: `application/json` (default) is the stored list, oldest first (pass `nextSince` as `since` for the next page); `text/event-stream` is a stream of ' +
          'server-sent events that starts with a snapshot, or after `Last-Event-ID` or `since`; `text/plain` is the same as text lines. ' +
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
        const { items, next } = await readHistory(request.principal, reading.byKey, id, after)
        if (items.length === 0) await read(request.principal, id)
        return { items, nextSince: next }
      }
      const since = toVersion(readLastEventId(request, /^[0-9]{1,9}$/, 'a version') ?? request.query.since)
      limits.assertRoom(request)
      if (!(await hub.find(request.principal, id))) throw taskNotFound(id)
      const task = hub.task(request.principal, id)
      // An EventSource reconnects after the end too; 204 tells it to stop.
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
        summary: 'Read the attempts of a task',
        description:
          'Oldest first: when and where each attempt ran, how it ended, and its error. Pass `nextAfter` as `after` for the next page.',
        params: TaskParams,
        querystring: AttemptsQuery,
        response: { 200: AttemptList, 400: Problem, 404: Problem },
      },
    },
    async (request) => {
      const { id } = await read(request.principal, request.params.id.toLowerCase())
      const { items, next } = await readAttemptPage(request.principal, reading.byKey, id, request.query.after ?? 0)
      return { items, nextAfter: next }
    },
  )

  app.get(
    '/api/tasks/:id/logs',
    {
      schema: {
        tags: ['tasks'],
        operationId: 'listLogs',
        summary: 'Read the log of a task',
        description:
          'The log lines of the handler in all attempts, oldest first. Pass `nextAfter` as `after` for the next page. The stream has them live, with `logs=1`.',
        params: TaskParams,
        querystring: LogsQuery,
        response: { 200: LogPage, 400: Problem, 404: Problem },
      },
    },
    async (request) => {
      const { after = 0, limit = DEFAULT_LOG_LINES } = request.query
      const { id } = await read(request.principal, request.params.id.toLowerCase())
      const { items, next } = await readLogs(request.principal, reading.byKey, id, after, limit)
      return { items, nextAfter: next }
    },
  )
}

/** One statement per tenant; there is nearly always just one. */
function groupByTenant(asked: readonly Asked[]): Map<string, { principal: Principal; ids: TaskId[] }> {
  const groups = new Map<string, { principal: Principal; ids: TaskId[] }>()
  for (const { principal, id } of asked) {
    const group = groups.get(principal.tenant)
    if (group === undefined) groups.set(principal.tenant, { principal, ids: [id] })
    else group.ids.push(id)
  }
  return groups
}

function taskNotFound(id: TaskId): ProblemError {
  return new ProblemError('task_not_found', `There is no task ${id}.`)
}

function toVersion(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text)
}
