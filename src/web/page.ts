/** The page in `public/` and the browser client, under a strict content security policy. */
import { fileURLToPath } from 'node:url'
import helmet from '@fastify/helmet'
import fastifyStatic from '@fastify/static'
import type { FastifyError, FastifyPluginAsync } from 'fastify'
import { answerProblem, ProblemError } from './problem.js'
import { problemsRoute } from './routes/problems.js'

/** Where the page lies, seen from `src/web` and from `dist/web` alike. */
const PUBLIC_FOLDER = fileURLToPath(new URL('../../public', import.meta.url))

export const pageRoutes: FastifyPluginAsync = async (app) => {
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        'default-src': ["'none'"],
        'script-src': ["'self'"],
        'style-src': ["'self'"],
        'img-src': ["'self'", 'data:'],
        'connect-src': ["'self'"],
        'base-uri': ["'none'"],
        'form-action': ["'none'"],
        'frame-ancestors': ["'none'"],
        'require-trusted-types-for': ["'script'"],
      },
    },
    // Served over plain HTTP on a developer's machine; a proxy that ends TLS sets this.
    strictTransportSecurity: false,
  })
  await app.register(problemsRoute)
  // An address that names a file in another way than its own, such as `//x`, is refused as forbidden: here it is one that does not exist.
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const isRefusedPath = error.statusCode === 403 || error.statusCode === 404
    answerProblem(isRefusedPath ? new ProblemError('not_found', `There is nothing at ${request.method} ${request.url.split('?')[0]}; addresses have single slashes and no dots between them.`) : error, request, reply)
  })
  await app.register(fastifyStatic, { root: PUBLIC_FOLDER, cacheControl: false, etag: true })
}
