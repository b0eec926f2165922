/**
 * The nginx example in docs/proxies.md, as printed and with the path stripped; the page in a real Chromium behind both.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { WebSocket } from 'ws'
import type { Task } from '../../src/protocol/task.js'
import { startApp, startWebBeside } from '../helpers/app.js'
import { launchBrowser, openPage } from '../helpers/browser.js'
import { hasNginx, startNginx } from '../helpers/nginx.js'

const [, example = ''] =
  /```nginx\n([^]*?)```/.exec(readFileSync(new URL('../../docs/proxies.md', import.meta.url), 'utf8')) ?? []

if (!(await hasNginx())) t.comment('no nginx on this machine: the test of the example in docs/proxies.md is skipped')
else {
  const app = await startApp(t, ['worker', 'relay'], { BASE_PATH: '/taskwire' })
  const web = await startWebBeside(t, app, {
    TRUST_PROXY: 'loopback',
    ALLOWED_HOSTS: 'tasks.example.com',
    BASE_PATH: '/taskwire',
  })
  const browser = await launchBrowser(t)
  const configure = (port: number) =>
    example.replace('listen 80', `listen 127.0.0.1:${port}`).replace('127.0.0.1:3000', new URL(web).host)

  for (const [how, strip] of [
    ['as printed', (text: string) => text],
    ['with the path stripped', (text: string) => text.replace(/(proxy_pass [^;]+);/, '$1/;')],
  ] as const) {
    const port = await startNginx(t, (free) => strip(configure(free)))
    const base = `http://127.0.0.1:${port}/taskwire`

    t.test(`${how}: REST, links, documents and streams lie under the path`, async (t) => {
      const created = await fetch(`${base}/api/tasks`, {
        method: 'POST',
        headers: { origin: `http://127.0.0.1:${port}`, 'content-type': 'application/json' },
        body: '{"payload":{"steps":0}}',
      })
      t.equal(created.status, 202)
      const task = (await created.json()) as Task
      t.equal(created.headers.get('location'), task.links.self)
      for (const link of Object.values(task.links)) t.match(link, /^\/taskwire\//, link)
      t.equal((await fetch(`http://127.0.0.1:${port}${task.links.self}`)).status, 200)
      const socket = new WebSocket(`ws://127.0.0.1:${port}${task.links.stream}`, {
        headers: { origin: `http://127.0.0.1:${port}` },
      })
      const [first] = (await once(socket, 'message')) as [Buffer]
      t.match(JSON.parse(first.toString()), { type: 'snapshot', task: { links: task.links } })
      if (socket.readyState !== socket.CLOSED) await once(socket, 'close')
      t.match(
        await (await fetch(`${base}/api/tasks/${task.id}/events`, { headers: { accept: 'text/event-stream' } })).text(),
        'COMPLETED',
      )
      const problem = await fetch(`${base}/api/tasks/x`)
      t.match(await problem.json(), { type: /^\/taskwire\/docs\/problems/ })
      t.match(await (await fetch(`${base}/openapi.json`)).json(), { servers: [{ url: '/taskwire' }] })
      t.match(await (await fetch(`${base}/asyncapi.json`)).json(), {
        servers: { here: { host: `127.0.0.1:${port}`, protocol: 'ws', pathname: '/taskwire' } },
      })
      const docs = await (await fetch(`${base}/docs`)).text()
      t.match(docs, 'href="/taskwire/docs/static/swagger-ui.css"')
      t.equal((await fetch(`${base}/docs/static/swagger-ui.css`)).status, 200)
      t.equal((await fetch(base, { redirect: 'manual' })).status, 308)
      const foreign = await fetch(`${base}/api/tasks`, { method: 'POST', headers: { origin: 'http://evil.test' } })
      t.equal(foreign.status, 403)
    })

    t.test(`${how}: the page creates a task and shows its end, live`, async (t) => {
      const { page, context, complaints } = await openPage(browser)
      t.teardown(() => context.close())
      await page.goto(`${base}/`)
      await page.getByText('Live', { exact: true }).first().waitFor()
      await page.getByLabel('Steps').fill('1')
      await page.getByRole('button', { name: 'Create task' }).click()
      await page.locator('.glance').getByText('COMPLETED', { exact: true }).waitFor()
      await page.goto(`${base}/docs`)
      await page.getByRole('heading', { name: /Taskwire/ }).waitFor()
      t.same(complaints, [])
    })
  }

  t.test('without a proxy the path is optional', async (t) => {
    for (const path of ['/taskwire/api/types', '/api/types', '/taskwire/', '/', '/taskwire/app.js'])
      t.equal((await fetch(web + path)).status, 200, path)
    const redirect = await fetch(`${web}/taskwire`, { redirect: 'manual' })
    t.match([redirect.status, redirect.headers.get('location')], [308, '/taskwire/'])
    for (const path of ['/taskwirex/api/types', '/taskwire/taskwire/api/types'])
      t.equal((await fetch(web + path)).status, 404, path)
  })
}
