/** The list of the page, and its single connection: the page shows the stored state over every transport. */
import type { Page } from 'playwright-core'
import t from 'tap'
import { startApp } from '../helpers/app.js'
import { launchBrowser } from '../helpers/browser.js'
import { startHttpProxy } from '../helpers/http-proxy.js'
import { createTask, definePageTests, waitForLive, waitForStatus } from '../helpers/page.js'

const app = await startApp(t, ['worker', 'relay'], { STREAM_HEARTBEAT_SECONDS: '1' })
const proxy = await startHttpProxy(t, app.address)
const browser = await launchBrowser(t)
const testPage = definePageTests(t, browser, proxy.address)
const rowsOf = (page: Page) => page.locator('#list .rows > li:not(.skeleton)')
const cancel = (id: string) => fetch(`${app.address}/api/tasks/${id}/cancel`, { method: 'POST' })

t.beforeEach(() => {
  proxy.isUpgrading = true
  proxy.requests.length = 0
})

async function createBatch(title: string, count: number, payload: object): Promise<void> {
  const tasks = Array.from({ length: count }, (_, index) => ({ title: `${title} ${index}`, payload }))
  const answer = await fetch(`${app.address}/api/tasks/batch`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ tasks }),
  })
  if (answer.status !== 202) throw new Error(await answer.text())
}

/** Compares the texts of the rows with the stored values. */
async function compareRows(page: Page, limit: number) {
  const { items } = (await (await fetch(`${app.address}/api/tasks?limit=${limit}`)).json()) as {
    items: { id: string; status: string }[]
  }
  const shown = await page
    .locator('#list .row')
    .evaluateAll((rows) =>
      rows.map((row) => [row.getAttribute('href')?.split('/').pop(), row.querySelector('.status')?.textContent]),
    )
  return { shown, stored: items.map(({ id, status }) => [id, status]) }
}

testPage(
  'a list of hundreds of rows ends in the stored state, never shrinks, and polls nothing',
  {},
  async (t, page) => {
    await createBatch('early', 260, { steps: 0 })
    await page.goto('/')
    await rowsOf(page).nth(49).waitFor()
    for (const count of [100, 150, 200, 250]) {
      await page.getByRole('button', { name: 'Load more' }).click()
      await rowsOf(page)
        .nth(count - 1)
        .waitFor()
    }
    await page.getByRole('heading', { name: 'Create a task' }).hover() // rows hold still under the pointer
    await page.evaluate(() => {
      const counts: number[] = []
      Object.assign(globalThis, { counts })
      new MutationObserver(() => counts.push(document.querySelectorAll('#list .row').length)).observe(
        document.querySelector('.rows') as Element,
        { childList: true },
      )
    })
    proxy.requests.length = 0
    await createBatch('late', 60, { steps: 1, stepMs: 1 })
    await page.waitForFunction(() => {
      const rows = [...document.querySelectorAll<HTMLElement>('#list .row')]
      return (
        rows.filter(({ innerText }) => innerText.startsWith('late')).length === 60 &&
        rows.every((row) => row.querySelector('.status')?.textContent === 'COMPLETED')
      )
    })
    const { shown, stored } = await compareRows(page, 100)
    t.same(shown.slice(0, 100), stored)
    t.equal(shown.length, 250)
    const counts = await page.evaluate(() => (globalThis as unknown as { counts: number[] }).counts)
    t.ok(Math.min(...counts) >= 250, `never fewer than 250 rows: ${Math.min(...counts)}`)
    t.same(proxy.requests, [], 'the page sends no requests meanwhile')
  },
)

testPage('a filter shows matching tasks, and tasks that no longer match disappear', {}, async (t, page) => {
  const first = await createTask(app.address, { title: 'runs long', payload: { steps: 1_000, stepMs: 100 } })
  await page.goto('/?status=PROCESSING')
  await page.getByRole('link', { name: 'runs long' }).waitFor()
  await page.evaluate(() => {
    const wrong: string[] = []
    Object.assign(globalThis, { wrong })
    new MutationObserver(() => {
      for (const { textContent } of document.querySelectorAll('#list .row:not([data-gone]) .status'))
        if (textContent !== 'PROCESSING') wrong.push(String(textContent))
    }).observe(document.querySelector('.rows') as Element, { subtree: true, childList: true, characterData: true })
  })
  await cancel(first.id)
  await page.getByText('No tasks match.').waitFor()
  t.same(await page.evaluate(() => (globalThis as unknown as { wrong: string[] }).wrong), [])
  await page.getByLabel('Filter by status').selectOption('CANCELLED')
  await page.getByRole('link', { name: 'runs long' }).waitFor()
  t.match(await page.getByLabel('Filter by status').locator('option:checked').innerText(), /^CANCELLED \(\d+\)$/)
})

testPage(
  'behind a proxy that does not upgrade, Create answers beside six running tasks, over one stream',
  { expected: /WebSocket connection/ },
  async (t, page) => {
    proxy.isUpgrading = false
    const tasks = await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        createTask(app.address, { title: `long ${index}`, payload: { steps: 1_000, stepMs: 100 } }),
      ),
    )
    await page.goto(`/tasks/${tasks[0]?.id}`)
    await waitForLive(page)
    await waitForStatus(page, 'PROCESSING')
    await page.getByRole('link', { name: 'New task' }).click()
    await page.getByLabel('Steps').fill('0')
    await page.getByLabel('Title').fill('answered')
    await page.getByRole('button', { name: 'Create task' }).click()
    await waitForStatus(page, 'COMPLETED')
    await page.locator('#list').getByRole('link', { name: 'answered' }).getByText('COMPLETED').waitFor()
    t.ok(
      proxy.requests.filter((line) => line.startsWith('GET /api/tasks/events?')).length > 0,
      'over server-sent events',
    )
    t.ok(proxy.openStreams() <= 1, `one stream is open: ${proxy.openStreams()}`)
    await Promise.all(tasks.map(({ id }) => cancel(id)))
  },
)

testPage(
  'a half-open connection is not shown as live, and is replaced',
  { expected: /WebSocket connection|net::ERR_/ },
  async (t, page) => {
    const task = await createTask(app.address, { title: 'half-open', payload: { steps: 1_000, stepMs: 100 } })
    await page.goto(`/tasks/${task.id}`)
    await waitForStatus(page, 'PROCESSING')
    await waitForLive(page)
    proxy.freeze()
    await cancel(task.id)
    await page
      .locator('#connection')
      .getByText(/^No data for \d+ s$/)
      .waitFor()
    t.equal(await page.locator('#connection').getAttribute('data-state'), 'quiet')
    t.match(await page.locator('.standing').innerText(), /as of the last update$/)
  },
)
