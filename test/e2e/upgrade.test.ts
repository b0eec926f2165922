/** What a browser does with the page's files across an upgrade. */
import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify from 'fastify'
import t from 'tap'
import { keepAnswersFresh } from '../../src/web/page/fresh-answers.js'
import { serveFolder } from '../../src/web/page/serve-folder.js'
import { launchBrowser, openPage } from '../helpers/browser.js'

const folder = await mkdtemp(join(tmpdir(), 'taskwire-upgrade-'))
t.teardown(() => rm(folder, { recursive: true, force: true }))
/** Every file of every version has the same time, as in npm packages and image builds. */
const ONE_TIME = new Date('1985-10-26T08:15:00Z')

async function writeVersion(version: string): Promise<void> {
  const files = {
    'index.html': '<!doctype html><script type="module" src="app.js"></script>',
    'app.js': `import './part.js'`,
    'part.js': `document.title = '${version}'`,
  }
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(folder, name), content)
    await utimes(join(folder, name), ONE_TIME, ONE_TIME)
  }
}

async function startVersion(port: number) {
  const app = Fastify()
  await app.register(async (scope) => {
    keepAnswersFresh(scope)
    serveFolder(scope, { folder, prefix: '/' })
  })
  const statuses: Record<string, number> = {}
  app.addHook('onResponse', async (request, reply) => {
    statuses[request.url] = reply.statusCode
  })
  await app.listen({ port, host: '127.0.0.1' })
  return { app, statuses }
}

t.test('after an upgrade a browser runs the new program, and without one no file is sent again', async (t) => {
  const { page } = await openPage(await launchBrowser(t))
  await writeVersion('v1')
  const first = await startVersion(0)
  const address = first.app.listeningOrigin
  const open = async () => {
    await page.goto('about:blank')
    await page.goto(address)
    await page.waitForFunction('document.title !== ""')
    return page.title()
  }
  t.equal(await open(), 'v1')
  t.equal(await open(), 'v1')
  t.match(
    first.statuses,
    { '/': 304, '/app.js': 304, '/part.js': 304 },
    'the browser revalidated every file, and every file was current',
  )
  await first.app.close()

  await writeVersion('v2')
  const second = await startVersion(Number(new URL(address).port))
  t.teardown(() => second.app.close())
  t.equal(await open(), 'v2', 'a file deep in the program, with the same size and time')
  t.match(second.statuses, { '/app.js': 304, '/part.js': 200 })
})
