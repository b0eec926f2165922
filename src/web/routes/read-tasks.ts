/** Reads over REST: pages of tasks, and the task types. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Registry } from '../../definitions/registry.js'
import { Problem } from '../../protocol/errors.js'
import { TaskPage, TypeList, type TypeInfo } from '../../protocol/http.js'
import { DEFAULT_PAGE_TASKS } from '../../protocol/limits.js'
import { ListTasksQuery } from '../../protocol/queries.js'
import { listPage } from '../../store/reads/list.js'
import type { Reading } from '../reading.js'
import { decodeCursor, encodeCursor, readFields, readFilter } from './list-query.js'

export interface ReadTasksDeps {
  reading: Reading
  registry: Registry
}

export const readTasksRoutes: FastifyPluginAsyncTypebox<ReadTasksDeps> = async (app, { reading, registry }) => {
  app.get(
    '/api/tasks',
    {
      schema: {
        tags: ['tasks'],
        operationId: 'listTasks',
        summary: 'List tasks',
        description:
          'Newest first. Tasks must match all filters given. Pass `nextCursor` as `cursor` for the next page, until it is null: a page ' +
          'holds at most 1 MiB and examines at most 100,000 tasks, so it may have fewer items than `limit`. Items have no ' +
          '`payload` and no `result`, unless `fields` includes them.',
        querystring: ListTasksQuery,
        response: { 200: TaskPage, 400: Problem, 503: Problem },
      },
    },
    async (request) => {
      const { cursor, limit = DEFAULT_PAGE_TASKS, fields, ...others } = request.query
      const filter = readFilter(others)
      const position = cursor === undefined ? undefined : decodeCursor(cursor, filter)
      const { items, next } = await listPage(request.principal, reading.inTurnsOf(request.ip), filter, {
        limit,
        fields: readFields(fields),
        position,
      })
      return { items, nextCursor: next && encodeCursor(next) }
    },
  )

  // The schema of a type may have a limit that JSON cannot express as a number.
  const types = JSON.parse(
    JSON.stringify(registry.list(), (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value)),
  ) as TypeInfo[]
  app.get(
    '/api/types',
    {
      schema: {
        tags: ['types'],
        operationId: 'listTypes',
        summary: 'List the task types',
        response: { 200: TypeList },
      },
    },
    async () => ({ items: types }),
  )
}
