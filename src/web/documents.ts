/** `/openapi.json`, `/asyncapi.json` and `/docs`, from the schemas that also check the requests. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { linkTo } from '../protocol/base-path.js'
import { Problem } from '../protocol/errors.js'
import type { Registry } from '../tasks/registry.js'
import { describeStreams } from './asyncapi.js'
import { keepAnswersFresh } from './fresh-answers.js'
import { isTls } from './origins.js'
import { headersOf } from './response-headers.js'
import { serveFolder } from './serve-folder.js'
import { readPackageVersion } from './version.js'

/** The program of the page of the calls, as its package has it. */
const SWAGGER_FILES = join(dirname(createRequire(import.meta.url).resolve('@fastify/swagger-ui')), 'static')

const PROBLEM_RESPONSE = { description: 'what is wrong, and what to do about it', content: { 'application/problem+json': { schema: Problem } } }

/**
 * Of the page of the calls. Its program sets styles in its markup; it loads nothing from elsewhere, and nothing over another
 * protocol than its own, so that it also works over plain HTTP.
 */
const DOCS_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join(';')

/** Must be registered before the routes it is to describe. */
export async function registerDocuments(app: FastifyInstance, registry: Registry): Promise<void> {
  const schemas = describeTypes(registry)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Taskwire',
        version: readPackageVersion(),
        description:
          'Create tasks, read them, watch them live. Errors are application/problem+json (RFC 9457) with a stable `code`; /docs/problems explains each. ' +
          'The live stream of a task is the WebSocket at `links.stream`, described in /asyncapi.json.',
      },
      servers: [{ url: linkTo('') || '/' }],
      components: { schemas },
      tags: [
        { name: 'tasks', description: 'Create, read and list tasks' },
        { name: 'artifacts', description: 'Files of tasks, down and up' },
        { name: 'types', description: 'What kinds of task there are' },
        { name: 'operations', description: 'For those who run the server' },
      ],
    },
    transform: ({ schema, url, route }) => ({ schema: schema && { ...schema, response: describeResponses(String(route.method), url, schema.response) }, url }),
  })
  await app.register(documentRoutes)
}

/** The documents, and the page that shows one of them. */
async function documentRoutes(scope: FastifyInstance): Promise<void> {
  keepAnswersFresh(scope)
  await scope.register(swaggerUi, {
    routePrefix: '/docs',
    indexPrefix: linkTo(''),
    staticCSP: DOCS_POLICY,
    // Else a server that is not on localhost has its document checked by a service of others.
    uiConfig: { deepLinking: true, validatorUrl: null },
  })
  // In place of the package's own route for them, which compresses nothing.
  serveFolder(scope, { folder: SWAGGER_FILES, prefix: '/docs/static/', headers: { 'content-security-policy': DOCS_POLICY }, includes: (name) => !name.endsWith('.html') })
  scope.get('/openapi.json', { schema: { hide: true } }, async () => scope.swagger())
  const streams = describeStreams()
  scope.get('/asyncapi.json', { schema: { hide: true } }, async ({ host, protocol }) => ({
    ...streams,
    servers: { here: { host, protocol: isTls(protocol) ? 'wss' : 'ws', pathname: linkTo('') || '/' } },
  }))
}

/** Problems with the content type that they are answered with, and that any other error is one, too; all with their headers. */
function describeResponses(method: string, url: string, response: unknown): Record<string, unknown> {
  const entries = Object.entries({ ...(response as object), default: Problem })
  return Object.fromEntries(
    entries.map(([status, schema]) => {
      const headers = headersOf(method, url, status)
      return [status, { ...(schema === Problem ? PROBLEM_RESPONSE : schema), ...(headers && { headers }) }]
    }),
  )
}

/** For each type of task the schemas of its payload, result and progress, by names such as `demo.sleep.payload`. */
function describeTypes(registry: Registry): Record<string, object> {
  const described = registry.list().flatMap(({ type, title, description, payload, result, progress }) => [
    [`${type}.payload`, { title: `Payload of ${type}`, description: `${title}. ${description}`, ...(payload as object) }] as const,
    [`${type}.result`, { title: `Result of ${type}`, ...(result as object) }] as const,
    ...(progress === null ? [] : [[`${type}.progress`, { title: `Progress data of ${type}`, ...(progress as object) }] as const]),
  ])
  return Object.fromEntries(described)
}
