import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { request, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { join, relative } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { chooseCoding } from '../../src/web/page/fresh-answers.js'
import { startApp, startWebBeside } from '../helpers/app.js'

const app = await startApp(t)
const PUBLIC = fileURLToPath(new URL('../../public/', import.meta.url))
const FILES = readdirSync(PUBLIC, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(PUBLIC, join(entry.parentPath, entry.name)))
const DOCUMENTS = [
  '/docs',
  '/docs/',
  '/docs/json',
  '/docs/yaml',
  '/docs/problems',
  '/docs/static/swagger-initializer.js',
  '/openapi.json',
  '/asyncapi.json',
]
const DOCS_FILES = [
  '/docs/static/swagger-ui-bundle.js',
  '/docs/static/swagger-ui.css',
  '/docs/static/favicon-32x32.png',
]
const ALL = ['/', ...FILES.map((name) => `/${name}`), ...DOCUMENTS, ...DOCS_FILES]

interface Answer {
  status: number | undefined
  headers: IncomingHttpHeaders
  body: Buffer
}

/** The raw bytes: `fetch` would decompress them. */
async function ask(
  path: string,
  headers: Record<string, string> = {},
  { method = 'GET', address = app.address } = {},
): Promise<Answer> {
  const sent = request(address + path, { method, headers, agent: false })
  sent.end()
  const [answer] = (await once(sent, 'response')) as [IncomingMessage]
  return { status: answer.statusCode, headers: answer.headers, body: await buffer(answer) }
}

const decode = ({ headers, body }: Answer) =>
  headers['content-encoding'] === 'br'
    ? brotliDecompressSync(body)
    : headers['content-encoding'] === 'gzip'
      ? gunzipSync(body)
      : body

t.test(
  'the page, its scripts and the documents are revalidated before each use, and sent again only if they have changed',
  async (t) => {
    for (const path of ALL) {
      const first = await ask(path, { 'accept-encoding': 'gzip, deflate, br, zstd' })
      t.equal(first.status, 200, path)
      t.equal(first.headers['cache-control'], 'no-cache', path)
      t.match(first.headers.etag, /^"[^"]+"$/, `${path} has a strong tag`)
      t.equal(
        first.headers['last-modified'],
        undefined,
        `${path}: file times are useless, because package managers give all files the same`,
      )
      for (const known of [first.headers.etag, `W/${first.headers.etag}`, `"other", ${first.headers.etag}`]) {
        const again = await ask(path, { 'accept-encoding': 'gzip, deflate, br, zstd', 'if-none-match': String(known) })
        t.match(
          [again.status, again.body.length, again.headers.etag, again.headers['cache-control']],
          [304, 0, first.headers.etag, 'no-cache'],
          path,
        )
        t.equal(again.headers.vary, first.headers.vary, path)
      }
      t.equal((await ask(path, { 'accept-encoding': 'br', 'if-none-match': '"other"' })).status, 200, path)
    }
  },
)

t.test('each coding has its own ETag, and matches the request', async (t) => {
  for (const path of ['/', '/app.js', '/styles/base.css', '/docs/static/swagger-ui-bundle.js', '/openapi.json']) {
    const plain = await ask(path)
    const [br, gzip, refused] = await Promise.all(
      ['br', 'gzip', 'br;q=0, gzip;q=0, *;q=0'].map((coding) => ask(path, { 'accept-encoding': coding })),
    )
    if (br === undefined || gzip === undefined) return t.fail('all requests were answered')
    t.same(
      [plain, br, gzip, refused].map((answer) => answer?.headers['content-encoding']),
      [undefined, 'br', 'gzip', undefined],
      path,
    )
    t.same(
      [plain, br, gzip].map((answer) => answer.headers.vary?.toLowerCase().includes('accept-encoding')),
      [true, true, true],
      path,
    )
    t.equal(new Set([plain, br, gzip].map((answer) => answer.headers.etag)).size, 3, path)
    for (const answer of [br, gzip]) {
      t.ok(decode(answer).equals(plain.body), `${path} arrives whole`)
      t.ok(answer.body.length < plain.body.length / 2, `${path} is less than half as long`)
      t.equal(Number(answer.headers['content-length']), answer.body.length, path)
    }
    t.equal(
      (await ask(path, { 'accept-encoding': 'gzip', 'if-none-match': String(br.headers.etag) })).status,
      200,
      'another coding is another answer',
    )
  }
})

t.test('HEAD answers with the headers of GET', async (t) => {
  for (const path of [
    '/',
    '/app.js',
    '/favicon.svg',
    '/openapi.json',
    '/docs/static/swagger-ui.css',
    '/docs/problems',
  ]) {
    const headers = { 'accept-encoding': 'br' }
    const [get, head] = [await ask(path, headers), await ask(path, headers, { method: 'HEAD' })]
    t.equal(head.body.length, 0)
    t.same({ ...head.headers, date: '' }, { ...get.headers, date: '' }, path)
    t.equal(head.headers['content-length'], String(get.body.length), path)
    t.equal(
      (await ask(path, { ...headers, 'if-none-match': String(get.headers.etag) }, { method: 'HEAD' })).status,
      304,
    )
  }
})

t.test('ranges are not served: the answer to Range is the whole file', async (t) => {
  const { status, body } = await ask('/app.js', { range: 'bytes=0-9' })
  t.equal(status, 200)
  t.ok(body.equals(readFileSync(join(PUBLIC, 'app.js'))))
})

t.test('scripts and pages keep their types and policies', async (t) => {
  await hasType(t, '/', 'text/html; charset=utf-8')
  await hasType(t, '/app.js', 'application/javascript; charset=utf-8')
  await hasType(t, '/favicon.svg', 'image/svg+xml')
  await hasType(t, '/docs/static/swagger-ui.css', 'text/css; charset=utf-8')
  for (const path of ['/', '/app.js', '/docs', '/docs/static/swagger-ui-bundle.js'])
    t.match((await ask(path)).headers['content-security-policy'], "default-src 'none'", path)
})

async function hasType(t: Test, path: string, type: string): Promise<void> {
  t.equal((await ask(path)).headers['content-type'], type, path)
}

t.test('an address outside the folder is not found, and a wrong method is refused', async (t) => {
  for (const path of [
    '/package.json',
    '/../package.json',
    '/pages/..%2f..%2fpackage.json',
    '/%2e%2e/package.json',
    '/pages',
    '/parts/',
    '/docs/static/../../package.json',
    '/app.js%00.html',
    '/APP.JS',
  ]) {
    const { status, headers } = await ask(path)
    t.ok(status === 404 || status === 400 || status === 403, `${path}: ${status}`)
    t.match(headers['content-type'], 'application/problem+json', path)
    t.not(headers['cache-control'], 'no-cache', path)
  }
  t.match(await ask('/app.js', {}, { method: 'POST' }), { status: 405, headers: { allow: 'GET, HEAD' } })
})

t.test('answers about tasks are neither stored nor compressed', async (t) => {
  for (const path of ['/api/tasks', '/api/types', '/healthz'])
    t.equal((await ask(path, { 'accept-encoding': 'br' })).headers['content-encoding'], undefined, path)
})

t.test('the same holds under a base path, whether the proxy strips it or not', async (t) => {
  const address = await startWebBeside(t, app, { BASE_PATH: '/taskwire' })
  for (const path of ['/', '/app.js', '/docs', '/docs/static/swagger-ui.css']) {
    const [under, stripped] = [
      await ask(`/taskwire${path}`, { 'accept-encoding': 'br' }, { address }),
      await ask(path, { 'accept-encoding': 'br' }, { address }),
    ]
    t.match(
      [under.status, under.headers['cache-control'], under.headers['content-encoding']],
      [200, 'no-cache', under.body.length > 500 && path !== '/docs' ? 'br' : under.headers['content-encoding']],
      path,
    )
    t.equal(stripped.headers.etag, under.headers.etag, path)
  }
  const { fix } = JSON.parse(String((await ask('/taskwire/nothing', {}, { address })).body)) as { fix: string }
  t.equal(fix, 'See /taskwire/docs for what this server offers.')
})

t.test('the coding is the one that the client prefers', async (t) => {
  for (const [accepted, chosen] of [
    [undefined, undefined],
    ['', undefined],
    ['br', 'br'],
    ['gzip, deflate, br, zstd', 'br'],
    ['gzip', 'gzip'],
    ['GZIP;Q=0.5', 'gzip'],
    ['br;q=0.1, gzip;q=0.9', 'gzip'],
    ['br;q=0, gzip', 'gzip'],
    ['br;q=0, *', 'gzip'],
    ['*', 'br'],
    ['*;q=0', undefined],
    ['identity', undefined],
    ['br;q=x', undefined],
    ['brotli, xbr', undefined],
  ] as const)
    t.equal(chooseCoding(accepted), chosen, String(accepted))
})
