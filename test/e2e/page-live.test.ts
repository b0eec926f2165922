/** The page during updates: they do not disturb the reader's actions, and the page shows no unknown state as fact. */
import type { Page } from 'playwright-core'
import t from 'tap'
import { startApp } from '../helpers/app.js'
import { launchBrowser } from '../helpers/browser.js'
import { startHttpProxy } from '../helpers/http-proxy.js'
import { createTask, definePageTests, detailOf, waitForLive, waitForStatus } from '../helpers/page.js'

const app = await startApp(t, ['worker', 'relay'])
const browser = await launchBrowser(t)
const testPage = definePageTests(t, browser, app.address)
const LONG = { payload: { steps: 1_000, stepMs: 100 } }
const cancel = (id: string) => fetch(`${app.address}/api/tasks/${id}/cancel`, { method: 'POST' })

async function openRunning(page: Page): Promise<string> {
  const task = await createTask(app.address, LONG)
  await page.goto(`/tasks/${task.id}`)
  await waitForStatus(page, 'PROCESSING')
  await moreProgress(page)
  return task.id
}

/** Resolves once the page has shown further progress twice. */
async function moreProgress(page: Page): Promise<void> {
  for (let turn = 0; turn < 2; turn += 1) {
    const before = await page.locator('.progress-text').innerText()
    await page.waitForFunction(
      (text) => (document.querySelector('.progress-text') as HTMLElement | null)?.innerText !== text,
      before,
    )
  }
}

testPage('focus, selection and a slow click survive updates', {}, async (t, page) => {
  const id = await openRunning(page)
  const link = detailOf(page).getByRole('link', { name: 'demo.sleep' })
  await link.focus()
  await page.evaluate(() => {
    const [created] = document.querySelectorAll('.facts > div:not([hidden]) .absolute')
    if (created !== undefined) getSelection()?.selectAllChildren(created)
  })
  const selected = await page.evaluate(() => getSelection()?.toString())
  t.match(selected, /\d{4}/)
  await moreProgress(page)
  t.equal(await page.evaluate(() => getSelection()?.toString()), selected, 'the selection')
  t.ok(await link.evaluate((element) => element === document.activeElement), 'the focus')

  await link.hover()
  await page.mouse.down()
  await moreProgress(page)
  await page.mouse.up()
  await page.getByRole('heading', { name: 'Sleep' }).waitFor()
  t.match(page.url(), /\/types\/demo\.sleep$/, 'the slow press')
  await page.goBack()

  // A status change adds to the history, and existing entries stay.
  await page.locator('.timeline li').nth(1).waitFor()
  await page.evaluate(() => {
    const [first] = document.querySelectorAll('.timeline time')
    if (first !== undefined) getSelection()?.selectAllChildren(first)
  })
  const time = await page.evaluate(() => getSelection()?.toString())
  await cancel(id)
  await waitForStatus(page, 'CANCELLED')
  t.equal(await page.evaluate(() => getSelection()?.toString()), time, 'a selection in the history')
})

testPage(
  'a slow click on a row opens its task, even if others arrive meanwhile',
  { hasTouch: true, viewport: { width: 320, height: 640 } },
  async (t, page) => {
    const task = await createTask(app.address, { title: 'pressed slowly', payload: { steps: 0 } })
    await page.goto('/')
    const row = page.getByRole('link', { name: 'pressed slowly' })
    await row.waitFor()
    const box = await row.boundingBox()
    if (box === null) throw new Error('the row is missing')
    await page.mouse.move(box.x + 20, box.y + 10)
    await page.mouse.down()
    await createTask(app.address, { title: 'came meanwhile', payload: { steps: 0 } })
    await page.getByRole('button', { name: '1 new task' }).waitFor()
    await page.mouse.up()
    await waitForStatus(page, 'COMPLETED')
    t.match(page.url(), task.id)
    await page.getByRole('link', { name: 'All tasks' }).click()
    await page.getByRole('link', { name: 'came meanwhile' }).waitFor()
  },
)

testPage('a task that has ended or is asked to stop shows nothing to wait for', {}, async (t, page) => {
  const id = await openRunning(page)
  await page
    .locator('.count')
    .getByText(/about .* left/)
    .waitFor()
  await page.evaluate(() => {
    const claims: string[] = []
    Object.assign(globalThis, { claims })
    new MutationObserver(() => {
      const status = document.querySelector('.glance .status')?.textContent ?? ''
      const count = document.querySelector('.count')?.textContent ?? ''
      if (status !== 'PROCESSING' && count.includes('left')) claims.push(`${status}: ${count}`)
    }).observe(document, { subtree: true, childList: true, characterData: true })
  })
  await cancel(id)
  await waitForStatus(page, 'CANCELLED')
  t.same(await page.evaluate(() => (globalThis as unknown as { claims: string[] }).claims), [])
  t.notMatch(await detailOf(page).innerText(), /left/)
})

t.test('behind a proxy', async (t) => {
  const proxy = await startHttpProxy(t, app.address)
  const testPage = definePageTests(t, browser, proxy.address)

  testPage(
    'while the server is away the clocks stop, and the page says since when',
    { expected: /net::ERR_|WebSocket connection|status of 50/ },
    async (t, page) => {
      const id = await openRunning(page)
      await waitForLive(page)
      proxy.cut()
      await page
        .locator('#connection')
        .getByText(/^(Reconnecting|Server unreachable).*Last update \d+ s ago/)
        .waitFor()
      const standing = await page.locator('.standing').innerText()
      t.match(standing, /^Running for \d+ s as of the last update$/)
      await cancel(id)
      await page
        .locator('#connection')
        .getByText(/Last update ([4-9]|\d\d) s ago/)
        .waitFor()
      t.equal(await page.locator('.standing').innerText(), standing, 'the clock stands still')
      proxy.mend()
      await waitForStatus(page, 'CANCELLED')
      await waitForLive(page)
      t.match(await page.locator('.standing').innerText(), /^Cancelled after \d/)
    },
  )
})
