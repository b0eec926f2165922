/**
 * The page that explains the protocol, in a real Chromium; and the client on that page and on a page of another origin.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import type * as client from '../../public/task-stream.js'
import { startApp } from '../helpers/app.js'
import { launchBrowser, openPage } from '../helpers/browser.js'
import { createTask } from '../helpers/watch.js'

/** A foreign web site, which serves an empty page at every path. */
const elsewhere = createServer((_, response) =>
  response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>elsewhere</title>'),
)
elsewhere.listen(0, '127.0.0.1')
await once(elsewhere, 'listening')
t.teardown(() => elsewhere.close())
const bound = elsewhere.address()
const elsewhereOrigin = `http://127.0.0.1:${typeof bound === 'object' && bound ? bound.port : 0}`

const { address } = await startApp(t, ['worker', 'relay'], { ALLOWED_ORIGINS: elsewhereOrigin })
const browser = await launchBrowser(t)

async function openPlayground(t: Test): Promise<{ page: Page; complaints: string[] }> {
  const { page, context, complaints } = await openPage(browser, { baseURL: address })
  t.teardown(() => context.close())
  await page.goto('/playground.html')
  return { page, complaints }
}

type Client = typeof client

const chips = (page: Page) => page.locator('.chips li')

t.test('the connection is dropped, the task continues, and missed messages are filled in', async (t) => {
  const { page, complaints } = await openPlayground(t)
  await page.getByRole('button', { name: 'Run a task' }).click()
  await chips(page).filter({ hasText: '1 SCHEDULED' }).waitFor()
  await page.getByRole('button', { name: 'Drop the connection' }).click()
  await page.getByText('Cut: no messages arrive').waitFor()
  await untilStatus('PROCESSING')
  t.equal(await chips(page).count(), 1, 'nothing arrived meanwhile')
  await page.getByRole('button', { name: 'Reconnect' }).click()
  await chips(page).nth(2).waitFor()
  t.same(await chips(page).allInnerTexts(), ['1 SCHEDULED', '2 PENDING filled in', '3 PROCESSING filled in'])
  await page.getByText('Finished: no more updates').waitFor()
  t.equal(await chips(page).nth(3).innerText(), '4 COMPLETED')
  t.match(
    await page.locator('.wire').innerText(),
    /"type":"resumed"[^]*missed, then filled in[^]*Closed with 1000: the task has ended/,
  )
  t.ok(await page.getByRole('button', { name: 'Reconnect' }).isDisabled())
  t.same(complaints, [])
})

t.test('a lost message is revealed by the next one', async (t) => {
  const { page, complaints } = await openPlayground(t)
  await page.getByRole('button', { name: 'Run a task' }).click()
  await chips(page).filter({ hasText: '1 SCHEDULED' }).waitFor()
  await page.getByRole('button', { name: 'Lose the next transition' }).click()
  await page.getByText('lost on the way').waitFor()
  await page.getByText('a gap: version 1 is held, 3 arrived').waitFor()
  await chips(page).nth(2).waitFor()
  t.same(await chips(page).allInnerTexts(), ['1 SCHEDULED', '2 PENDING filled in', '3 PROCESSING filled in'])
  t.same(complaints, [])
})

t.test('the tables are those of the server', async (t) => {
  const { page } = await openPlayground(t)
  const document = (await (await fetch(`${address}/asyncapi.json`)).json()) as {
    info: { 'x-close-codes': { code: number }[] }
  }
  await page.locator('#code-table tbody tr').first().waitFor()
  const codes = await page.locator('#code-table tbody td:first-child').allInnerTexts()
  t.same(
    codes.map(Number),
    document.info['x-close-codes'].map(({ code }) => code),
  )
})

/** Waits until the newest task has this status. */
async function untilStatus(status: string): Promise<void> {
  for (;;) {
    const listed = (await (await fetch(`${address}/api/tasks?limit=1`)).json()) as { items: { status: string }[] }
    if (listed.items[0]?.status === status) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Returns the messages that a page receives through the client of the server at `baseUrl`. */
async function watchInPage(page: Page, id: string): Promise<string[]> {
  return page.evaluate(
    async ({ baseUrl, id }) => {
      const url = `${baseUrl}/task-stream.js`
      const { watchTask } = (await import(url)) as Client
      const seen: string[] = []
      for await (const { task, message } of watchTask(id, { baseUrl, minDelayMs: 1, maxDelayMs: 20 })) {
        if (message.type !== 'progress' && message.type !== 'waiting') seen.push(`${task.version} ${task.status}`)
      }
      return seen
    },
    { baseUrl: address, id },
  )
}

for (const [where, origin] of [
  ['a page of the server', address],
  ['a page of another origin', elsewhereOrigin],
] as const) {
  for (const isBlocked of [false, true]) {
    t.test(`the client in ${where}${isBlocked ? ', where WebSockets are blocked' : ''}`, async (t) => {
      const { page, context } = await openPage(browser)
      t.teardown(() => context.close())
      if (isBlocked) await page.routeWebSocket(/ws\/tasks/, (socket) => socket.close())
      await page.goto(`${origin}/playground.html`)
      const task = await createTask(address, { payload: { steps: 2, stepMs: 50 }, delayMs: 4_000 })
      t.same(await watchInPage(page, task.id), ['1 SCHEDULED', '2 PENDING', '3 PROCESSING', '4 COMPLETED'])
    })
  }
}
