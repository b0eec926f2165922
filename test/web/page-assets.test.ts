/**
 * The files of the page at addresses with a fingerprint of their content, and the responses at fingerprints of other
 * versions.
 */
import { unlinkSync } from 'node:fs'
import { cp, mkdtemp, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import t from 'tap'
import { keepAnswersFresh } from '../../src/web/page/fresh-answers.js'
import { openPageAssets, servePageAssets } from '../../src/web/page/page-assets.js'
import { openPageDocument } from '../../src/web/page/page-document.js'
import { startApp, startWebBeside } from '../helpers/app.js'

const PUBLIC = fileURLToPath(new URL('../../public/', import.meta.url))
const app = await startApp(t)
const linksOf = (html: string) =>
  [...html.replace(/<noscript>.*<\/noscript>/g, '').matchAll(/<(?:link|script)[^>]* (?:href|src)="([^"]+)"/g)].map(
    ([, link = '']) => link,
  )

t.test(
  'a page loads all its files from addresses that are kept for a year, and one style sheet with all styles in their order',
  async (t) => {
    const under = await startWebBeside(t, app, { BASE_PATH: '/taskwire' })
    for (const [address, path] of [
      [app.address, '/'],
      [app.address, '/tasks/x?y=z'],
      [under, '/taskwire/'],
      [under, '/taskwire/tasks/x'],
      [under, '/tasks/x/'],
    ] as const) {
      const links = [...new Set(linksOf(await (await fetch(address + path)).text()))].map(
        (link) => new URL(link, address + path).pathname,
      )
      t.ok(links.length > 50, path)
      for (const link of links) t.match(link, /^(\/taskwire)?\/assets\/[\w-]{16}\/[\w/-]+\.(js|css|svg)$/, path)
      t.equal(links.filter((link) => link.endsWith('.css')).length, 1, 'one style sheet')
      for (const link of links) {
        const answer = await fetch(address + link)
        t.match(
          [answer.status, answer.headers.get('cache-control')],
          [200, 'public, max-age=31536000, immutable'],
          link,
        )
        t.match(answer.headers.get('content-security-policy'), "default-src 'none'", link)
        const text = await answer.text()
        const name = link.replace(/.*\/assets\/[^/]+\//, '')
        if (name !== 'styles/page.css') t.equal(text, await readFile(PUBLIC + name, 'utf8'), `${link} is the file`)
        else
          t.equal(
            text,
            (await Promise.all((await stylesOf('index.html')).map((file) => readFile(PUBLIC + file, 'utf8')))).join(''),
          )
      }
    }
  },
)

async function stylesOf(name: string): Promise<string[]> {
  const html = (await readFile(PUBLIC + name, 'utf8')).replace(/<noscript>.*<\/noscript>/g, '')
  return [...html.matchAll(/stylesheet" href="\.\/([^"]+)"/g)].map(([, file = '']) => file)
}

t.test(
  'a fingerprint of another version is answered with the current file, to be revalidated; a missing file is always a 404',
  async (t) => {
    for (const name of ['app.js', 'parts/row.js', 'styles/base.css', 'styles/page.css', 'favicon.svg']) {
      const old = await fetch(`${app.address}/assets/0123456789abcdef/${name}`)
      t.match([old.status, old.headers.get('cache-control')], [200, 'no-cache'], name)
      const etag = old.headers.get('etag') ?? ''
      t.equal(
        (await fetch(`${app.address}/assets/0123456789abcdef/${name}`, { headers: { 'if-none-match': etag } })).status,
        304,
        name,
      )
    }
    for (const path of [
      '/assets/x/none.js',
      '/assets/x/index.html',
      '/assets/x/',
      '/assets/x',
      '/assets/',
      '/assets',
      '/assets/x/../../package.json',
      '/assets/x/..%2f..%2fpackage.json',
    ]) {
      t.equal((await fetch(app.address + path)).status, 404, path)
    }
  },
)

t.test(
  'a changed, new or removed file changes the fingerprint of all, and a cached address never gets other content',
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'taskwire-assets-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    await cp(PUBLIC, folder, { recursive: true })
    const server = Fastify()
    t.teardown(() => server.close())
    const readAssets = openPageAssets(folder)
    const render = openPageDocument(readAssets)
    await server.register(async (scope) => {
      keepAnswersFresh(scope)
      servePageAssets(scope, readAssets)
    })
    const fingerprintOf = async () =>
      /assets\/([\w-]{16})\/app\.js/.exec((await render('/', '/')).toString())?.[1] ?? ''
    const read = async (fingerprint: string, name: string) => {
      const { headers, body } = await server.inject(`/assets/${fingerprint}/${name}`)
      return { control: headers['cache-control'], body }
    }
    const first = await fingerprintOf()
    t.equal(await fingerprintOf(), first)
    const before = await read(first, 'parts/row.js')
    t.match(before.control, 'immutable')
    await writeFile(join(folder, 'parts/row.js'), `${before.body}// changed\n`)
    await utimes(join(folder, 'parts/row.js'), new Date('1985-10-26T08:15:00Z'), new Date('1985-10-26T08:15:00Z'))
    t.same(await read(first, 'parts/row.js'), before, 'until a page is requested, the old program stays whole')
    const second = await fingerprintOf()
    t.not(second, first)
    t.match(await read(second, 'parts/row.js'), { control: /immutable/, body: /\/\/ changed\n$/ })
    t.match(await read(first, 'parts/row.js'), { control: 'no-cache', body: /\/\/ changed\n$/ })
    await writeFile(join(folder, 'styles/base.css'), 'body { color: red }\n')
    const third = await fingerprintOf()
    t.match((await read(third, 'styles/page.css')).body, 'body { color: red }')
    t.equal(new Set([first, second, third]).size, 3)
    await writeFile(join(folder, 'parts/new.js'), 'export const isNew = true\n')
    await writeFile(join(folder, 'parts/row.js'), `import './new.js'\n${before.body}`)
    const fourth = await fingerprintOf()
    t.match(await read(fourth, 'parts/new.js'), { control: /immutable/, body: 'export const isNew = true\n' })
    t.match((await render('/', '/')).toString(), `<link rel="modulepreload" href="./assets/${fourth}/parts/new.js">`)
    await rm(join(folder, 'parts/new.js'))
    await writeFile(join(folder, 'parts/row.js'), before.body)
    t.match(
      await read(fourth, 'parts/new.js'),
      { body: 'export const isNew = true\n' },
      'an open page can still load the removed file',
    )
    const fifth = await fingerprintOf()
    t.notMatch((await render('/', '/')).toString(), 'parts/new.js')
    t.notMatch([first, second, third, fourth], [fifth])
  },
)

t.test('the page is served at any moment of an upgrade in place', async (t) => {
  const parent = await mkdtemp(join(tmpdir(), 'taskwire-upgrade-'))
  t.teardown(() => rm(parent, { recursive: true, force: true }))
  const folder = join(parent, 'public')
  await cp(PUBLIC, folder, { recursive: true })
  const readAssets = openPageAssets(folder)
  const render = openPageDocument(readAssets)
  const before = (await render('/', '/')).toString()
  await rename(folder, join(parent, 'away'))
  t.equal((await render('/', '/')).toString(), before, 'the folder is away')
  await rename(join(parent, 'away'), folder)
  const [one, other] = [readAssets(), readAssets()]
  t.equal(one, other, 'concurrent requests share a read')
  await one
  const temporary = join(folder, 'app.js.part')
  await writeFile(temporary, 'half')
  const reading = readAssets()
  unlinkSync(temporary)
  await t.resolves(reading, 'a file is gone between its listing and its first read')
  t.equal((await render('/', '/')).toString(), before)
  const program = await readFile(join(folder, 'app.js'), 'utf8')
  await writeFile(join(folder, 'app.js'), `${program}\nexport const half = '`)
  t.match((await render('/', '/')).toString(), '/app.js"', 'a module is written only in part')
  await writeFile(join(folder, 'app.js'), program)
  t.equal((await render('/', '/')).toString(), before)
})
