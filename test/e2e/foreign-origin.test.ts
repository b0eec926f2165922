/**
 * Foreign pages in a real Chromium: one of another origin, and one whose name is rebound to the server's address.
 * Neither changes nor reads anything. Names are resolved to loopback inside the browser: no traffic leaves the machine.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, createServer as createTcpServer } from 'node:net'
import type { Page } from 'playwright-core'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { startApp } from '../helpers/app.js'
import { launchBrowser, openPage } from '../helpers/browser.js'
import { createTask } from '../helpers/watch.js'

const app = await startApp(t, ['worker', 'relay'])
const { address } = app
const { port } = new URL(address)
const sql = postgres(app.databaseUrl, { max: 1 })
t.teardown(() => sql.end())
const task = await createTask(address, { delayMs: 3_600_000, title: 'the secret plan' })

/** A foreign web site, which serves an empty page at every path. */
const site = createServer((_, response) =>
  response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>elsewhere</title>'),
)
site.listen(0, '127.0.0.1')
await once(site, 'listening')
t.teardown(() => site.close())
const sitePort = (site.address() as { port: number }).port

const browser = await launchBrowser(t, [
  '--host-resolver-rules=MAP evil.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
])

const countRows = async () =>
  (
    await sql`select (select count(*) from taskwire.tasks) as tasks, (select count(*) from taskwire.artifacts) as artifacts, (select sum(version) from taskwire.tasks) as versions`
  )[0]

async function openForeign(t: Test, url: string): Promise<Page> {
  const { page, context } = await openPage(browser)
  t.teardown(() => context.close())
  // The compiler of the tests calls this helper to name functions.
  await page.addInitScript('globalThis.__name = (named) => named')
  await page.goto(url)
  return page
}

/** Tries every attack that a page can make. Returns a line for each read and each change that succeeded. */
async function attack(page: Page, target: string): Promise<string[]> {
  return page.evaluate(
    async ({ target, id }) => {
      const gains: string[] = []
      const read = async (what: string, init: RequestInit, path: string) => {
        const answer = await fetch(target + path, init).catch(() => undefined)
        if (answer?.ok) gains.push(`${what}: ${answer.status} ${(await answer.text()).slice(0, 60)}`)
      }
      const json = { 'content-type': 'application/json' }
      await read('read', {}, '/api/tasks')
      await read('read one', {}, `/api/tasks/${id}`)
      await read('read the page', {}, '/')
      await read('read the health', {}, '/healthz')
      await read('create', { method: 'POST', headers: json, body: '{}' }, '/api/tasks')
      await read('create as text', { method: 'POST', body: '{}' }, '/api/tasks')
      await read('edit', { method: 'PATCH', headers: json, body: '{"title":"mine"}' }, `/api/tasks/${id}`)
      await read('cancel', { method: 'POST' }, `/api/tasks/${id}/cancel`)
      await read(
        'claim to be the proxy',
        { method: 'POST', headers: { 'x-forwarded-host': 'localhost' } },
        `/api/tasks/${id}/cancel`,
      )
      // Requests that need no preflight: the browser sends them, and hides the response from the page.
      for (const path of ['/api/uploads', `/api/tasks/${id}/cancel`, '/api/tasks']) {
        await fetch(target + path, { method: 'POST', mode: 'no-cors', body: 'data' }).catch(() => {})
        await fetch(target + path, { method: 'POST', mode: 'no-cors' }).catch(() => {})
        navigator.sendBeacon(target + path, new Blob(['{}'], { type: 'text/plain' }))
        for (const enctype of ['text/plain', 'multipart/form-data', 'application/x-www-form-urlencoded']) {
          const frame = Object.assign(document.createElement('iframe'), { name: `frame${Math.random()}` })
          const form = Object.assign(document.createElement('form'), {
            method: 'post',
            action: target + path,
            target: frame.name,
            enctype,
          })
          form.append(Object.assign(document.createElement('input'), { name: '{"title":"form"', value: '}' }))
          document.body.append(frame, form)
          const loaded = new Promise((resolve) => frame.addEventListener('load', resolve, { once: true }))
          form.submit()
          await loaded
        }
      }
      const opens = (source: WebSocket | EventSource) =>
        new Promise<boolean>((resolve) => {
          source.onopen = source.onmessage = () => resolve(true)
          source.onerror = () => resolve(false)
        }).finally(() => source.close())
      for (const path of [`/ws/tasks/${id}`, '/ws/tasks'])
        if (await opens(new WebSocket(target.replace('http', 'ws') + path))) gains.push(`socket ${path}`)
      for (const path of [`/api/tasks/${id}/events`, '/api/tasks/events'])
        if (await opens(new EventSource(target + path))) gains.push(`events ${path}`)
      const loads = (name: 'script' | 'img', path: string) =>
        new Promise<boolean>((resolve) => {
          const element = document.createElement(name)
          element.onload = () => resolve(true)
          element.onerror = () => resolve(false)
          element.src = target + path
          document.body.append(element)
        })
      if (await loads('script', '/api/tasks')) gains.push('a script of the list')
      return gains
    },
    { target, id: task.id },
  )
}

for (const [who, url, target] of [
  ['a page of another name', `http://evil.test:${sitePort}/`, address],
  ['a page of another port of this machine', `http://127.0.0.1:${sitePort}/`, address],
  ['a page of another name for this machine', `http://localhost:${sitePort}/`, address],
] as const) {
  t.test(`${who} changes nothing and reads nothing`, async (t) => {
    const before = await countRows()
    const page = await openForeign(t, url)
    t.strictSame(await attack(page, target), [])
    await settle()
    t.strictSame(await countRows(), before)
  })
}

t.test('a page on a name that was rebound to this server changes nothing and reads nothing', async (t) => {
  const before = await countRows()
  // The name resolves to the attacker's server until the page is loaded, and to this server afterwards: a single origin
  // for the browser.
  let target = sitePort
  const name = createTcpServer((line) => {
    const there = connect({ host: '127.0.0.1', port: target })
    line.pipe(there).pipe(line)
    for (const end of [line, there]) end.on('error', () => void (line.destroy(), there.destroy()))
  }).listen(0, '127.0.0.1')
  await once(name, 'listening')
  t.teardown(() => name.close())
  const origin = `http://evil.test:${(name.address() as { port: number }).port}`
  const page = await openForeign(t, origin)
  site.closeAllConnections()
  target = Number(port)
  t.equal(await page.evaluate(() => location.origin), origin)
  t.equal(
    await page.evaluate(async () => (await fetch('/healthz')).status),
    421,
    'the request arrives here and is refused',
  )
  t.strictSame(await attack(page, origin), [])
  await settle()
  t.strictSame(await countRows(), before)
})

t.test('the same attempts by a page of this server succeed, so the test is valid', async (t) => {
  const before = await countRows()
  const page = await openForeign(t, `${address}/docs/static/index.css`)
  const gains = await attack(page, address)
  for (const what of ['read', 'read one', 'create', 'socket', 'events', 'edit', 'cancel'])
    t.ok(
      gains.some((gain) => gain.startsWith(what)),
      `${what}: ${gains.join(' | ')}`,
    )
  t.notSame(await countRows(), before)
})

/** A page does not wait for its beacons, so this waits until Chromium has had time to send them. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 500))
}
