/** `/openapi.json`, `/asyncapi.json` and `/docs`, from the schemas that also validate the requests. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import type { Registry } from '../../definitions/registry.js'
import { linkTexts, linkTo } from '../../protocol/base-path.js'
import { isTls } from '../gate/origins.js'
import { keepAnswersFresh } from '../page/fresh-answers.js'
import { serveFolder } from '../page/serve-folder.js'
import { describeStreams } from './asyncapi.js'
import { completeDocument, describeHead, type DescribedRoute } from './openapi.js'
import { addWithoutProgram } from './without-program.js'

/** The script of the API page, as its package has it. */
const SWAGGER_FILES = join(dirname(createRequire(import.meta.url).resolve('@fastify/swagger-ui')), 'static')

/**
 * The policy of the API page. Its script sets styles in its markup. It loads nothing from elsewhere, and nothing over
 * another protocol than its own, so it also works over plain HTTP.
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

/** Must be registered before the routes it describes. */
export async function registerDocuments(app: FastifyInstance, registry: Registry): Promise<void> {
  const routes: DescribedRoute[] = []
  await app.register(swagger, {
    openapi: describeHead(),
    transform({ schema, url, route }) {
      if (schema !== undefined) routes.push({ method: String(route.method), url, schema })
      // `completeDocument` describes bodies and answers.
      return { schema: schema && { ...schema, body: undefined, headers: undefined, response: {} }, url }
    },
    transformObject: (made) =>
      'openapiObject' in made ? completeDocument(made.openapiObject, routes, registry) : made.swaggerObject,
  })
  await app.register(documentRoutes)
}

/** The documents, and the page that shows one of them. */
async function documentRoutes(scope: FastifyInstance): Promise<void> {
  scope.addHook('onSend', async (_request, reply, payload) => {
    const isPage = typeof payload === 'string' && String(reply.getHeader('content-type')).startsWith('text/html')
    return isPage ? addWithoutProgram(payload, () => scope.swagger()) : payload
  })
  keepAnswersFresh(scope)
  await scope.register(swaggerUi, {
    routePrefix: '/docs',
    indexPrefix: linkTo(''),
    staticCSP: DOCS_POLICY,
    // Otherwise, if the server is not on localhost, the page would have its document checked by a third-party service.
    uiConfig: { deepLinking: true, validatorUrl: null },
    theme: { title: 'The API · Taskwire' },
  })
  // Replaces the package's own route for these files, which does not compress.
  serveFolder(scope, {
    folder: SWAGGER_FILES,
    prefix: '/docs/static/',
    headers: { 'content-security-policy': DOCS_POLICY },
    includes: (name) => !name.endsWith('.html'),
  })
  scope.get('/openapi.json', { schema: { hide: true } }, async () => scope.swagger())
  const streams = linkTexts(describeStreams())
  scope.get('/asyncapi.json', { schema: { hide: true } }, async ({ host, protocol }) => ({
    ...streams,
    servers: {
      here: {
        host,
        protocol: isTls(protocol) ? 'wss' : 'ws',
        pathname: linkTo('') || '/',
        description: 'this server',
        security: [],
      },
    },
  }))
}
