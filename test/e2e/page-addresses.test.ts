/** The addresses of the page: real paths, which work with a reload, a bookmark, another tab and the back button. */
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { startApp, startWebBeside } from '../helpers/app.js'
import { launchBrowser } from '../helpers/browser.js'
import { createTask, definePageTests, detailOf, waitForStatus } from '../helpers/page.js'

const app = await startApp(t, ['worker', 'relay'])
const browser = await launchBrowser(t)
const testPage = definePageTests(t, browser, app.address)
const DONE = { payload: { steps: 0 } }
const PHONE = { viewport: { width: 320, height: 600 } }

/** Marks the document. A reload removes the mark. */
const mark = (page: Page) => page.evaluate(() => Object.assign(globalThis, { isMarked: true }))
const isMarked = (page: Page) => page.evaluate(() => 'isMarked' in globalThis)
const scrollOf = (page: Page) => page.evaluate(() => Math.round(scrollY))
const pathOf = (page: Page) => page.evaluate(() => location.pathname + location.search + location.hash)

testPage('links change the address without a reload, and a reload restores each address', {}, async (t, page) => {
  const task = await createTask(app.address, { title: 'found again', ...DONE })
  await page.goto('/')
  await mark(page)
  await page.getByRole('link', { name: 'found again' }).click()
  await waitForStatus(page, 'COMPLETED')
  t.equal(await pathOf(page), `/tasks/${task.id}`)
  await page.getByRole('link', { name: 'New task' }).click()
  await page.getByRole('button', { name: 'Create task' }).waitFor()
  t.equal(await pathOf(page), '/new', 'the links of the header have the same targets on every page')
  await page.goBack()
  await detailOf(page).getByRole('link', { name: 'demo.sleep' }).click()
  await page.getByRole('heading', { name: 'Sleep in steps' }).waitFor()
  t.equal(await pathOf(page), '/types/demo.sleep')
  await page.getByRole('link', { name: 'All types' }).click()
  await page.getByRole('heading', { name: 'Task types' }).waitFor()
  await page.getByRole('link', { name: 'New task' }).click()
  await page.getByRole('button', { name: 'Create task' }).waitFor()
  t.equal(await pathOf(page), '/new')
  t.ok(await isMarked(page), 'without a reload')
  await page.getByRole('link', { name: 'Protocol' }).click()
  await page.getByRole('heading', { name: 'The live protocol' }).waitFor()
  t.notOk(await isMarked(page), 'the browser handles addresses that are not pages of the program')

  for (const [path, heading] of [
    [`/tasks/${task.id}`, 'found again'],
    [`/tasks/${task.id}/`, 'found again'],
    ['/types/demo.sleep', 'Sleep in steps'],
    ['/types/a%2Fb', 'There is no such type'],
    ['/types', 'Task types'],
    ['/workers', 'Workers'],
    ['/new/http.request', 'Create a task'],
    ['/tasks', 'Create a task'],
    ['/index.html', 'Create a task'],
  ] as const) {
    await page.goto(path)
    await page.getByRole('heading', { name: heading }).waitFor()
  }
  await page.reload()
  await page.getByRole('heading', { name: 'Create a task' }).waitFor()
})

testPage('old addresses redirect to the new ones, from a bookmark and while the page is open', {}, async (t, page) => {
  const task = await createTask(app.address, { title: 'bookmarked', ...DONE })
  for (const [old, path, heading] of [
    [`/#/tasks/${task.id}`, `/tasks/${task.id}`, 'bookmarked'],
    [`/?status=COMPLETED#/tasks/${task.id}`, `/tasks/${task.id}?status=COMPLETED`, 'bookmarked'],
    [`/index.html#/tasks/${task.id}`, `/tasks/${task.id}`, 'bookmarked'],
    ['/#/types/demo.sleep', '/types/demo.sleep', 'Sleep in steps'],
    ['/#/types/a%2Fb', '/types/a%2Fb', 'There is no such type'],
    ['/#/types', '/types', 'Task types'],
    ['/#/new/http.request', '/new/http.request', 'Create a task'],
    ['/#/', '/', 'Create a task'],
  ] as const) {
    // Each has another path than the address that the one before it redirected to, so it loads the page anew.
    await page.goto(old)
    await page.getByRole('heading', { name: heading }).waitFor()
    t.equal(await pathOf(page), path, old)
  }
  await mark(page)
  await page.evaluate(() => (location.hash = '#/types'))
  await page.getByRole('heading', { name: 'Task types' }).waitFor()
  t.equal(await pathOf(page), '/types')
  await page.goBack()
  await page.getByRole('heading', { name: 'Create a task' }).waitFor()
  t.ok(await isMarked(page), 'without a reload')
})

testPage('back, forward and reload restore the scroll positions of the list and the task', PHONE, async (t, page) => {
  const failed = await createTask(app.address, { title: 'below', payload: { steps: 2, stepMs: 1, failAt: 1 } })
  await Promise.all(
    Array.from({ length: 40 }, (_, index) => createTask(app.address, { title: `filling ${index}`, ...DONE })),
  )
  await page.goto('/')
  await page.locator('.row').nth(40).waitFor()
  await page.getByRole('link', { name: 'below' }).scrollIntoViewIfNeeded()
  const listAt = await scrollOf(page)
  t.ok(listAt > 500, `the list is long: ${listAt}`)
  await page.getByRole('link', { name: 'below' }).click()
  await waitForStatus(page, 'FAILED')
  t.match(await pathOf(page), failed.id)
  t.equal(await scrollOf(page), 0, 'a task opens at its top')
  await page.getByRole('heading', { name: 'Use it from your code' }).scrollIntoViewIfNeeded()
  const taskAt = await scrollOf(page)
  t.ok(taskAt > 100, `the task is long: ${taskAt}`)

  await page.goBack()
  await page.waitForFunction((top) => Math.abs(scrollY - top) <= 1, listAt)
  await page.goForward()
  await page.waitForFunction((top) => Math.abs(scrollY - top) <= 1, taskAt)
  await page.reload()
  await page.waitForFunction((top) => Math.abs(scrollY - top) <= 1, taskAt)
  await page.goBack()
  await page.waitForFunction((top) => Math.abs(scrollY - top) <= 1, listAt)
  t.equal(await pathOf(page), '/')
})

testPage('a link opens in another tab on request, and the filters of the list are kept', {}, async (t, page) => {
  const task = await createTask(app.address, { title: 'in two tabs', ...DONE })
  await page.goto('/?status=COMPLETED')
  const row = page.getByRole('link', { name: 'in two tabs' })
  const [tab] = await Promise.all([page.context().waitForEvent('page'), row.click({ modifiers: ['ControlOrMeta'] })])
  await waitForStatus(tab, 'COMPLETED')
  t.equal(await pathOf(tab), `/tasks/${task.id}`)
  await tab.close()
  t.equal(await pathOf(page), '/?status=COMPLETED', 'this tab has not changed')

  await row.click()
  await waitForStatus(page, 'COMPLETED')
  t.equal(await pathOf(page), `/tasks/${task.id}?status=COMPLETED`)
  await page.getByLabel('Filter by status').selectOption('FAILED')
  t.equal(await pathOf(page), `/tasks/${task.id}?status=FAILED`)
  await page.goBack()
  await row.waitFor()
  t.equal(await page.getByLabel('Filter by status').inputValue(), 'COMPLETED')
})

/** Starts a proxy that serves the server under `prefix` and strips that path; the server does not know about it. */
async function publishUnder(t: Test, prefix: string, address: string): Promise<string> {
  const proxy = createServer((incoming, response) => {
    if (incoming.url?.startsWith(`${prefix}/`) !== true)
      return void response.writeHead(404, { 'content-type': 'text/plain' }).end()
    const sent = request(
      address + incoming.url.slice(prefix.length),
      { method: incoming.method, headers: { ...incoming.headers, host: new URL(address).host } },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(response)
      },
    )
    sent.on('error', () => response.destroy())
    incoming.pipe(sent)
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    proxy.close()
    proxy.closeAllConnections()
  })
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}${prefix}`
}

async function checkUnder(t: Test, page: Page, base: string): Promise<void> {
  const { pathname } = new URL(base)
  const task = await createTask(app.address, { title: 'under a path', ...DONE })
  for (const path of [`/tasks/${task.id}`, `/#/tasks/${task.id}`]) {
    await page.goto(base + path)
    await waitForStatus(page, 'COMPLETED')
    t.equal(await pathOf(page), `${pathname}/tasks/${task.id}`)
  }
  await page.reload()
  await detailOf(page).getByRole('link', { name: 'demo.sleep' }).click()
  await page.getByRole('link', { name: 'Create one' }).click()
  await page.getByRole('button', { name: 'Create task' }).waitFor()
  t.equal(await pathOf(page), `${pathname}/new/demo.sleep`)
  await page.getByRole('link', { name: 'Taskwire' }).click()
  t.equal(await pathOf(page), `${pathname}/`)
  await page.getByRole('link', { name: 'under a path' }).first().click()
  await waitForStatus(page, 'COMPLETED')
}

t.test('under a base path, known to the server or not, all addresses work', async (t) => {
  const hidden = await publishUnder(t, '/some/where', app.address)
  const testHere = definePageTests(t, browser, app.address)
  testHere('unknown', { expected: /WebSocket connection/ }, (t, page) => checkUnder(t, page, hidden))
  // This test is last because the base path is global to the process, so it appears in the links of all its servers.
  testHere('known, as BASE_PATH', {}, async (t, page) =>
    checkUnder(t, page, `${await startWebBeside(t, app, { BASE_PATH: '/taskwire' })}/taskwire`),
  )
})
