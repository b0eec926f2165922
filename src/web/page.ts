/** The page in `public/` and the browser client, under a strict content security policy. */
import { fileURLToPath } from 'node:url'
import helmet from '@fastify/helmet'
import type { FastifyPluginAsync } from 'fastify'
import { keepAnswersFresh } from './fresh-answers.js'
import { problemsRoute } from './routes/problems.js'
import { serveFolder } from './serve-folder.js'

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
  keepAnswersFresh(app)
  await app.register(problemsRoute)
  serveFolder(app, { folder: PUBLIC_FOLDER, prefix: '/' })
}
