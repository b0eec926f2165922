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

/** The location of the page, relative to both `src/web/page` and `dist/web/page`. */
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
    // Served over plain HTTP on a developer's machine; a proxy that terminates TLS sets this.
    strictTransportSecurity: false,
  })
  keepAnswersFresh(app)
  await app.register(problemsRoute)
  const readAssets = openPageAssets(PUBLIC_FOLDER)
  servePages(app, readAssets)
  servePageAssets(app, readAssets)
  serveFolder(app, { folder: PUBLIC_FOLDER, prefix: '/', includes: (name) => name !== 'index.html' })
}

/** The same document at the address of each page. Any other address is not found, as everywhere. */
function servePages(app: FastifyInstance, readAssets: () => Promise<PageAssets>): void {
  const render = openPageDocument(readAssets)
  for (const path of ['/index.html', ...PAGES.map((page) => page.path)]) {
    app.get(path, { schema: { hide: true } }, async ({ url }, reply) => {
      // Trailing slashes are ignored, so `//` is routed here too. From that address the links of a page would point
      // nowhere.
      if (url.startsWith('//')) return reply.callNotFound()
      void reply.type('text/html; charset=utf-8')
      return render(url, path)
    })
  }
}
