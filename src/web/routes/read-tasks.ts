/** Reads over REST: pages of tasks, and the types. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Registry } from '../../definitions/registry.js'
import { Problem } from '../../protocol/errors.js'
import { ListTasksQuery, TaskPage, TypeList, type TypeInfo } from '../../protocol/http.js'
import { DEFAULT_PAGE_TASKS } from '../../protocol/limits.js'
import { listPage } from '../../store/reads/list.js'
import type { Reading } from '../reading.js'
import { DEFAULT_TENANT } from '../tenant.js'
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
          'Newest first. All filters that are given must fit. Pass `nextCursor` as `cursor` for the next page, until it is null: a page ' +
          'holds at most 1 MiB, and looks at 100,000 tasks at most, so it may have fewer items than `limit`. Items carry no ' +
          '`payload` and no `result`, unless `fields` asks for them.',
        querystring: ListTasksQuery,
        response: { 200: TaskPage, 400: Problem, 503: Problem },
      },
    },
    async (request) => {
      const { cursor, limit = DEFAULT_PAGE_TASKS, fields, ...others } = request.query
      const filter = readFilter(others)
      const position = cursor === undefined ? undefined : decodeCursor(cursor, filter)
      const { items, next } = await listPage(reading.inTurnsOf(request.ip), DEFAULT_TENANT, filter, { limit, fields: readFields(fields), position })
      return { items, nextCursor: next && encodeCursor(next) }
    },
  )

  // The schema of a type may have a bound that JSON has no number for.
  const types = JSON.parse(JSON.stringify(registry.list(), (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value))) as TypeInfo[]
  app.get(
    '/api/types',
    { schema: { tags: ['types'], operationId: 'listTypes', summary: 'List the task types', response: { 200: TypeList } } },
    async () => ({ items: types }),
  )
}
