/** The server's responses at the addresses of the page. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { PAGES } from '../../public/pages.js'
import { startApp, startWebBeside } from '../helpers/app.js'

const { address, ...app } = await startApp(t)
const PUBLIC = fileURLToPath(new URL('../../public/', import.meta.url))
const FILES = readdirSync(PUBLIC, { recursive: true, encoding: 'utf8' }).map((name) => name.replaceAll('\\', '/'))
const read = (name: string) => readFileSync(PUBLIC + name, 'utf8')
const PATHS = PAGES.flatMap(({ path }) => {
  const named = path.replace(/:\w+/, 'a.b')
  return [named, `${named}/`.replace('//', '/'), `${named}?status=FAILED`]
})

/** All addresses that a document loads or links to. */
const linksOf = (html: string) => [...html.matchAll(/(?:href|src)="([^"#]+)"/g)].map(([, link = '']) => link)

t.test('each page is the same document, whose links resolve to the same targets from every address', async (t) => {
  const under = await startWebBeside(t, { address, ...app }, { BASE_PATH: '/taskwire' })
  const expected = linksOf(await (await fetch(address)).text()).map((link) => new URL(link, address).pathname)
  t.ok(expected.length > 40)
  for (const link of expected) t.equal((await fetch(address + link)).status, 200, link)
  for (const [base, root] of [
    [address, ''],
    [under, '/taskwire'],
    [under, ''],
  ] as const) {
    for (const path of PATHS) {
      const answer = await fetch(base + root + path)
      t.match(
        [answer.status, answer.headers.get('content-type'), answer.headers.get('cache-control')],
        [200, 'text/html; charset=utf-8', 'no-cache'],
        path,
      )
      t.match(answer.headers.get('content-security-policy'), "default-src 'none'", path)
      t.same(
        linksOf(await answer.text()).map((link) => new URL(link, base + root + path).pathname),
        expected.map((link) => root + link),
        root + path,
      )
    }
  }
})

t.test('nothing else is shadowed: other addresses keep their meaning, or are not found', async (t) => {
  for (const path of [
    '/api/tasks',
    '/api/types',
    '/healthz',
    '/readyz',
    '/openapi.json',
    '/asyncapi.json',
    '/playground.html',
    '/app.js',
    '/pages.js',
    '/docs',
    '/docs/problems',
  ]) {
    const answer = await fetch(address + path)
    t.equal(answer.status, 200, path)
    t.notMatch(await answer.text(), 'id="fallback"', path)
  }
  for (const path of [
    '/task',
    '/tasks/a/b',
    '/new/a/b',
    '/types/a/b',
    '//',
    '//tasks',
    '/pages',
    '/pages/none.js',
    '/api/none',
    '/ws/none',
    '/docs/none',
  ]) {
    const answer = await fetch(address + path)
    t.match([answer.status, answer.headers.get('content-type')], [404, 'application/problem+json; charset=utf-8'], path)
  }
  const wrong = await fetch(`${address}/tasks/x`, { method: 'POST' })
  t.match([wrong.status, wrong.headers.get('allow')], [405, 'GET, HEAD'])
})

t.test('every module of the program is named in the document, and every style sheet is a file', async (t) => {
  const html = await (await fetch(address)).text()
  const preloaded = [...html.matchAll(/modulepreload" href="\.\/assets\/[\w-]{16}\/([^"]+)"/g)].map(([, name]) => name)
  const isOfProgram = (name: string) => name.endsWith('.js') && name !== 'playground.js'
  t.same(preloaded.sort(), FILES.filter(isOfProgram).sort())
  const styled = [...`${read('index.html')}${read('playground.html')}`.matchAll(/styles\/[\w-]+\.css/g)].map(
    ([name]) => name,
  )
  t.same([...new Set(styled)].sort(), FILES.filter((name) => name.endsWith('.css')).sort())
})

t.test('the page consists of small files, without ids in its styles', (t) => {
  for (const name of FILES.filter((file) => /\.(js|css)$/.test(file))) {
    t.ok(read(name).split('\n').length <= 300, name)
    if (name.endsWith('.css')) t.notMatch(read(name).replaceAll(/#[0-9a-f]{3,8}\b/g, ''), /#[a-z]/, name)
  }
  t.end()
})
