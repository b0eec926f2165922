/** Hostile files on the page's origin, in a real Chromium: no code in them runs there, however they are requested. */
import type { Browser, Page } from 'playwright-core'
import t from 'tap'
import type { Link, Upload } from '../../src/protocol/artifact.js'
import type { Task } from '../../src/protocol/task.js'
import { startApp } from '../helpers/app.js'
import { launchBrowser } from '../helpers/browser.js'
import { isDeep } from '../helpers/depth.js'

const app = await startApp(t, ['worker'])
const browser: Browser = await launchBrowser(t)

/** How long a test waits to prove that nothing happens. */
const LEEWAY_MS = 2_000
/** How long a test waits for an expected event, with leeway for slow machines. */
const PATIENCE_MS = 240_000

/** Reports to the page that the script ran, if it runs with the page's origin. */
const SCRIPT = `new BroadcastChannel('ran').postMessage('MARK'); globalThis.ran = 'MARK';`
const SVG = (mark: string) =>
  `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" id="x"><script>${script(mark)}</script><g id="y"><image href="x:" onerror="${script(mark).replaceAll("'", '&#39;')}"/></g></svg>`
const HTML = (mark: string) =>
  `<!doctype html><title>file</title><script>${script(mark)}</script><img src="x:" onerror="${script(mark).replaceAll("'", '&#39;')}"><p id="text">text</p>`
const script = (mark: string) => SCRIPT.replaceAll('MARK', mark)

const ALL_FILES: [mediaType: string, content: (mark: string) => string][] = [
  ...[
    'text/javascript',
    'application/javascript',
    'application/x-javascript',
    'application/ecmascript',
    'text/jscript',
    'TEXT/JavaScript; charset=utf-8',
    'text/plain',
    'application/json',
    'application/octet-stream',
    'image/png',
    'text/csv',
    'text/html',
  ].map((type) => [type, script] as [string, (mark: string) => string]),
  ...['text/css', 'text/css; charset=utf-8'].map(
    (type) => [type, (mark: string) => `:root { --ran: ${mark} }`] as [string, (mark: string) => string],
  ),
  ...[
    'text/html',
    'application/xhtml+xml',
    'text/plain',
    'image/png',
    'multipart/x-mixed-replace; boundary=x',
    'application/octet-stream',
  ].map((type) => [type, HTML] as [string, (mark: string) => string]),
  ...[
    'image/svg+xml',
    'application/xml',
    'text/xml',
    'text/xsl',
    'application/rss+xml',
    'image/svg+xml; charset=utf-8',
    'text/html',
  ].map((type) => [type, SVG] as [string, (mark: string) => string]),
]
const FILES = ALL_FILES.filter((_, index) => isDeep || index % 2 === 0)

/**
 * Loads an address in every way that a page can. Returns the names of the scripts that ran within `waitMs`, or until
 * `wanted` ran. Runs in the page.
 */
function tryEverything({ url, waitMs, wanted }: { url: string; waitMs: number; wanted?: string }): Promise<string[]> {
  const ran = new Set<string>()
  const channel = new BroadcastChannel('ran')
  channel.addEventListener('message', ({ data }) => ran.add(String(data)))
  const element = (name: string, attributes: Record<string, string>) => {
    const made = document.createElement(name)
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
    document.body.append(made)
  }
  const attempt = (action: () => unknown) =>
    Promise.resolve()
      .then(action)
      .catch(() => {})
  element('script', { src: url })
  element('script', { src: url, type: 'module' })
  element('link', { rel: 'stylesheet', href: url })
  element('link', { rel: 'modulepreload', href: url })
  element('iframe', { src: url })
  element('iframe', { srcdoc: `<script src="${url}"></script>` })
  element('object', { data: url })
  element('object', { data: url, type: 'image/svg+xml' })
  element('embed', { src: url })
  element('embed', { src: url, type: 'text/html' })
  element('img', { src: url })
  const holder = document.createElement('div')
  holder.innerHTML = `<svg><use href="${url}#x"></use><use href="${url}#y"></use><image href="${url}"></image></svg><style>@import "${url}"; svg { filter: url("${url}#x") }</style>`
  document.body.append(holder)
  void attempt(() => import(url))
  void attempt(() => new Worker(url))
  void attempt(() => new Worker(url, { type: 'module' }))
  void attempt(() => new SharedWorker(url))
  void attempt(() => navigator.serviceWorker.register(url))
  void attempt(() => new Worker(URL.createObjectURL(new Blob([`importScripts(${JSON.stringify(url)})`]))))
  const endsAt = performance.now() + waitMs
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const style = getComputedStyle(document.documentElement).getPropertyValue('--ran')
      if (style !== '') ran.add(`style ${style}`)
      if ('ran' in globalThis) ran.add(`page ${String((globalThis as { ran?: unknown }).ran)}`)
      if (performance.now() < endsAt && !(wanted !== undefined && ran.has(wanted))) return
      clearInterval(timer)
      resolve([...ran])
    }, 50)
  })
}

/**
 * A page of this server's origin without a content security policy: the usual policy would block most of these
 * attempts, and the files must be harmless without it, too.
 */
async function openPage(): Promise<Page> {
  const page = await (await browser.newContext()).newPage()
  page.setDefaultTimeout(PATIENCE_MS)
  await page.route('**/bare', (route) =>
    route.fulfill({ contentType: 'text/html', body: '<!doctype html><html><body></body></html>' }),
  )
  await page.goto(`${app.address}/bare`)
  return page
}

/** Stores a file, and returns its plain address and a signed one. */
async function store(mediaType: string, content: string): Promise<string[]> {
  const { upload } = (await (
    await fetch(`${app.address}/api/uploads?name=file`, {
      method: 'POST',
      headers: { 'content-type': mediaType },
      body: content,
    })
  ).json()) as Upload
  const path = `/api/tasks/${upload}/artifacts/file`
  const { url } = (await (await fetch(`${app.address}${path}/links`, { method: 'POST' })).json()) as Link
  return [path, url]
}

t.test(
  'no script, module, worker, style sheet, frame, object or image of a stored file runs in the page',
  async (t) => {
    const page = await openPage()
    t.teardown(() => page.context().close())
    // Unprotected copies of the scripts, which do run: otherwise this test could not fail.
    await page.route('**/control.js', (route) =>
      route.fulfill({ contentType: 'text/javascript', body: script('control') }),
    )
    await page.route('**/control.svg', (route) =>
      route.fulfill({ contentType: 'image/svg+xml', body: SVG('control-svg') }),
    )
    await page.route('**/control.css', (route) =>
      route.fulfill({ contentType: 'text/css', body: ':root { --ran: control }' }),
    )
    for (const [url, wanted] of [
      ['/control.js', 'control'],
      ['/control.svg', 'control-svg'],
      ['/control.css', 'style control'],
    ] as const) {
      t.ok((await page.evaluate(tryEverything, { url, waitMs: PATIENCE_MS, wanted })).includes(wanted), `${url} runs`)
    }
    await page.reload()
    const urls = (
      await Promise.all(
        FILES.map(async ([type, content], index) =>
          (await store(type, content(`file-${index}`))).map((url) => ({ type, url })),
        ),
      )
    ).flat()
    const results = await Promise.all(
      urls.map(async ({ type, url }) => ({
        type,
        url,
        ran: await page.evaluate(tryEverything, { url, waitMs: LEEWAY_MS }),
      })),
    )
    for (const { type, url, ran } of results) t.same(ran, [], `${type} at ${url.split('?')[0]}`)
  },
)

t.test('a stored file that is opened directly runs no code, and displayable types are shown', async (t) => {
  const page = await openPage()
  t.teardown(() => page.context().close())
  const other = await page.context().newPage()
  other.setDefaultTimeout(PATIENCE_MS)
  await page.evaluate(() => {
    const heard: unknown[] = []
    Object.assign(globalThis, { heard })
    new BroadcastChannel('ran').addEventListener('message', ({ data }) => heard.push(data))
  })
  for (const [index, [type, content]] of FILES.entries()) {
    for (const url of await store(type, content(`file-${index}`))) {
      // `goto` rejects when the response is a download, because a download is not a navigation.
      const answer = await other.goto(app.address + url).catch(() => null)
      if (answer !== null) t.equal(await other.evaluate(() => origin), 'null', `${type} is shown in its own origin`)
    }
  }
  await page.waitForTimeout(LEEWAY_MS)
  t.same(await page.evaluate(() => (globalThis as unknown as { heard: unknown[] }).heard), [])
  const [html = ''] = await store('text/html; charset=utf-8', HTML('shown'))
  await other.goto(app.address + html)
  t.equal(await other.textContent('#text'), 'text')
})

t.test('the page of a report can be viewed in the browser', async (t) => {
  const headers = { 'content-type': 'application/json', prefer: 'wait=30' }
  const report = (await (
    await fetch(`${app.address}/api/tasks`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ type: 'report.generate' }),
    })
  ).json()) as Task
  const page = await (await browser.newContext()).newPage()
  t.teardown(() => page.context().close())
  await page.goto(`${app.address}/api/tasks/${report.id}/artifacts/report.html`)
  t.ok(await page.isVisible('svg[aria-label="tasks by status"]'))
  t.not(await page.evaluate(() => getComputedStyle(document.body).fontFamily), '', 'its styles apply')
  t.equal(await page.evaluate(() => origin), 'null')
})

t.test('every answer has nosniff, and cannot be embedded by other origins', async (t) => {
  const [path = '', link = ''] = await store('text/javascript', script('x'))
  const task = (await (
    await fetch(`${app.address}/api/tasks`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
  ).json()) as Task
  const requests: [string, RequestInit?][] = [
    ...[
      path,
      link,
      '/',
      '/app.js',
      '/healthz',
      '/readyz',
      '/openapi.json',
      '/asyncapi.json',
      '/docs',
      '/docs/static/index.html',
      '/api/tasks',
      '/api/types',
    ].map((each) => [each] as [string]),
    ...[
      '/nothing',
      '/ws/tasks',
      '/ws/nothing',
      '/api/tasks/x',
      `${path}x`,
      '/%',
      '/api/uploads',
      '/files/x/y',
      `/api/tasks?limit=x`,
    ].map((each) => [each] as [string]),
    [path, { headers: { range: 'bytes=0-1' } }],
    [path, { headers: { range: 'bytes=900-' } }],
    [`/api/tasks/${task.id}/events`, { headers: { accept: 'text/event-stream' } }],
    [`/api/tasks/${task.id}/events`, { headers: { accept: 'text/plain' } }],
    ['/api/tasks', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{' }],
    ['/api/tasks', { method: 'POST', headers: { 'content-type': 'text/html' }, body: 'x' }],
    ['/api/tasks', { method: 'DELETE' }],
  ]
  for (const [each, init] of requests) {
    const answer = await fetch(app.address + each, init)
    const name = `${init?.method ?? 'GET'} ${each} ${answer.status}`
    t.equal(answer.headers.get('x-content-type-options'), 'nosniff', name)
    t.equal(answer.headers.get('cross-origin-resource-policy'), 'same-origin', name)
    await answer.body?.cancel()
  }
})
