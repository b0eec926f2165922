/**
 * One task over REST: its current state, now or once it has changed; and its history, as a list or as a stream.
 *
 * `GET /api/tasks/:id/events` has three formats, selected by `Accept`: the stored list (JSON, the default), a stream of
 * server-sent events, and a stream of text lines. The streams are those of the hub, as over a WebSocket.
 */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Hub } from '../../live/hub.js'
import { Problem } from '../../protocol/errors.js'
import { NoBody, TransitionList } from '../../protocol/http.js'
import { ReadTaskQuery, StreamQuery, TaskParams } from '../../protocol/queries.js'
import { isFinal } from '../../protocol/status.js'
import { Task } from '../../protocol/task.js'
import { readHistory } from '../../store/reads/tasks.js'
import type { WaitExplainer } from '../../tasks/release/wait-explainer.js'
import { etagOfWaiting, hasEtag } from '../etag.js'
import { readExplained } from '../explained-reader.js'
import { chooseFormat } from '../live/event-format.js'
import { readLastEventId, type HttpStreams } from '../live/http-stream.js'
import type { StreamLimits } from '../live/stream-limits.js'
import { waitForTask } from '../live/wait-for-task.js'
import type { Reading } from '../reading.js'
import { toNotFound, type TaskReader } from '../task-reader.js'

export interface ReadTaskDeps {
  readTask: TaskReader
  reading: Reading
  waits: Pick<WaitExplainer, 'explain'>
  hub: Hub
  limits: StreamLimits
  streams: HttpStreams
}

export const readTaskRoutes: FastifyPluginAsyncTypebox<ReadTaskDeps> = async (
  app,
  { readTask, reading, waits, hub, limits, streams },
) => {
  app.get(
    '/api/tasks/:id',
    {
      schema: {
        tags: ['tasks'],
        operationId: 'readTask',
        summary: 'Read a task',
        description:
          'With `wait` the answer is delayed until the task has changed: `?wait=30&since=3` answers when its version is no longer 3, `?wait=30` when ' +
          'it has ended, and both after 30 s at the latest. A wait counts as a stream. `ETag` identifies the state; `If-None-Match` with the same value is answered with 304. ' +
          '`waitingFor` says why a task does not run: the reason in a code and in words, how many are ahead of it, and about when it starts. The estimate alone does not change the tag.',
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
      const { task, waitingFor } = await readExplained(request.principal, id, { readTask, waits })
      const etag = etagOfWaiting(task, waitingFor)
      reply.header('etag', etag).header('cache-control', 'no-cache')
      if (hasEtag(request.headers['if-none-match'] ?? '', etag)) return reply.code(304).send(undefined)
      return { ...task, waitingFor }
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
        if (items.length === 0) await readTask(request.principal, id)
        return { items, nextSince: next }
      }
      const since = toVersion(readLastEventId(request, /^[0-9]{1,9}$/, 'a version') ?? request.query.since)
      limits.assertRoom(request)
      if (!(await hub.find(request.principal, id))) throw toNotFound(id)
      const task = hub.task(request.principal, id)
      // An EventSource reconnects after the end too; 204 tells it to stop.
      if (task && isFinal(task.status) && task.version === since) return reply.code(204).send(undefined)
      streams.follow(id, { since, logs: request.query.logs === '1', format, onEnd: limits.enter(request) }, reply)
      return reply
    },
  )
}

function toVersion(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text)
}
