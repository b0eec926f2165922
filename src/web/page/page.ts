/** The page in `public/` and the browser client, under a strict content security policy. */
import { fileURLToPath } from 'node:url'
import helmet from '@fastify/helmet'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { PAGES } from '../../../public/pages.js'
import { problemsRoute } from '../routes/problems.js'
import { keepAnswersFresh } from './fresh-answers.js'
import { openPageAssets, servePageAssets, type PageAssets } from './page-assets.js'
import { openPageDocument } from './page-document.js'
import { serveFolder } from './serve-folder.js'

/** Where the page lies, seen from `src/web` and from `dist/web` alike. */
const PUBLIC_FOLDER = fileURLToPath(new URL('../../../public', import.meta.url))

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
  const readAssets = openPageAssets(PUBLIC_FOLDER)
  servePages(app, readAssets)
  servePageAssets(app, PUBLIC_FOLDER, readAssets)
  serveFolder(app, { folder: PUBLIC_FOLDER, prefix: '/', includes: (name) => name !== 'index.html' })
}

/** The same document at the address of each page. What is at another address is told to be nowhere, as everywhere. */
function servePages(app: FastifyInstance, readAssets: () => Promise<PageAssets>): void {
  const render = openPageDocument(PUBLIC_FOLDER, readAssets)
  for (const path of ['/index.html', ...PAGES.map((page) => page.path)]) {
    app.get(path, { schema: { hide: true } }, async ({ url }, reply) => {
      // A slash at the end means nothing, so that `//` leads here, too. Seen from there, the links of a page lead nowhere.
      if (url.startsWith('//')) return reply.callNotFound()
      void reply.type('text/html; charset=utf-8')
      return render(url)
    })
  }
}
