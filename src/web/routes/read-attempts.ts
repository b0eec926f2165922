/** What a task's attempts have left: when and where each of them ran, and the log of their handlers. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Problem } from '../../protocol/errors.js'
import { AttemptList, LogPage } from '../../protocol/http.js'
import { DEFAULT_LOG_LINES } from '../../protocol/limits.js'
import { AttemptsQuery, LogsQuery, TaskParams } from '../../protocol/queries.js'
import { readLogs } from '../../store/attempts/logs.js'
import { readAttemptPage } from '../../store/reads/tasks.js'
import type { Reading } from '../reading.js'
import type { TaskReader } from '../task-reader.js'

export interface ReadAttemptsDeps {
  readTask: TaskReader
  reading: Reading
}

export const readAttemptsRoutes: FastifyPluginAsyncTypebox<ReadAttemptsDeps> = async (app, { readTask, reading }) => {
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
      const { id } = await readTask(request.principal, request.params.id.toLowerCase())
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
      const { id } = await readTask(request.principal, request.params.id.toLowerCase())
      const { items, next } = await readLogs(request.principal, reading.byKey, id, after, limit)
      return { items, nextAfter: next }
    },
  )
}
