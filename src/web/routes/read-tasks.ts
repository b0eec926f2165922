/** Reads over REST: pages of tasks, and the types. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Database } from '../../db/database.js'
import { ListTasksQuery, TaskPage, TypeList } from '../../protocol/http.js'
import { Problem } from '../../protocol/errors.js'
import type { TaskId } from '../../protocol/task.js'
import type { Registry } from '../../tasks/registry.js'
import { listTasks } from '../../tasks/store/index.js'
import { ProblemError } from '../problem.js'
import { DEFAULT_TENANT } from '../tenant.js'

const DEFAULT_LIMIT = 50

export interface ReadTasksDeps {
  db: Database
  registry: Registry
}

export const readTasksRoutes: FastifyPluginAsyncTypebox<ReadTasksDeps> = async (app, { db, registry }) => {
  app.get(
    '/api/tasks',
    {
      schema: {
        tags: ['tasks'],
        summary: 'List tasks',
        description: 'Newest first. Pass `nextCursor` as `cursor` for the next page.',
        querystring: ListTasksQuery,
        response: { 200: TaskPage, 400: Problem },
      },
    },
    async (request) => {
      const { cursor, limit = DEFAULT_LIMIT, ...filter } = request.query
      const beforeId = cursor === undefined ? undefined : decodeCursor(cursor)
      // One more than asked for tells whether there is a next page.
      const found = await listTasks(db, DEFAULT_TENANT, { ...filter, ...(beforeId && { beforeId }), limit: limit + 1 })
      const items = found.slice(0, limit)
      const last = items.at(-1)
      return { items, nextCursor: found.length > limit && last ? encodeCursor(last.id) : null }
    },
  )

  app.get(
    '/api/types',
    { schema: { tags: ['types'], summary: 'List the task types', response: { 200: TypeList } } },
    async () => ({ items: registry.list() }),
  )
}

/** Opaque to clients, so that what a page is keyed by can change. */
function encodeCursor(id: TaskId): string {
  return Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url')
}

function decodeCursor(cursor: string): TaskId {
  const hex = Buffer.from(cursor, 'base64url').toString('hex')
  if (hex.length !== 32) throw new ProblemError('invalid_cursor', 'The cursor was not made by this server.', [{ pointer: '/cursor', detail: 'is malformed' }])
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
