/** `/openapi.json`, `/asyncapi.json` and `/docs`, from the schemas that also check the requests. */
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { describeStreams } from './asyncapi.js'
import { readPackageVersion } from './version.js'

/** Must be registered before the routes it is to describe. */
export async function registerDocuments(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Taskwire',
        version: readPackageVersion(),
        description:
          'Create tasks, read them, watch them live. Errors are application/problem+json (RFC 9457) with a stable `code`. ' +
          'The live stream of a task is the WebSocket at `links.stream`, described in /asyncapi.json.',
      },
      tags: [
        { name: 'tasks', description: 'Create, read and list tasks' },
        { name: 'types', description: 'What kinds of task there are' },
        { name: 'operations', description: 'For those who run the server' },
      ],
    },
  })
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true, uiConfig: { deepLinking: true } })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  const streams = describeStreams()
  app.get('/asyncapi.json', { schema: { hide: true } }, async () => streams)
}
