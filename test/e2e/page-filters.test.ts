/** The list with any filters in the address of the page; and titles without visible characters. */
import t from 'tap'
import { startApp } from '../helpers/app.js'
import { launchBrowser } from '../helpers/browser.js'
import { createTask, definePageTests, detailOf, waitForLive } from '../helpers/page.js'

const app = await startApp(t)
const browser = await launchBrowser(t)
const testPage = definePageTests(t, browser, app.address)

const nightly = await createTask(app.address, {
  title: 'nightly report',
  tags: ['nightly', 'a‮b', 'لتر'],
  delayMs: 86_400_000,
})
const blank = await createTask(app.address, { title: '​  ‎' })

testPage('the other filters of the API are read from the address, shown, and can be removed', {}, async (t, page) => {
  for (const [query, shown] of [
    ['tag=nightly', 'tag: nightly'],
    ['q=NIGHT', 'q: NIGHT'],
    ['status=scheduled', ''],
    ['createdBefore=2999-01-01T00:00:00Z&tag=nightly', 'tag: nightly'],
  ] as const) {
    await page.goto(`/?${query}`)
    await page.locator(`.row[href$="${nightly.id}"]`).waitFor()
    t.equal(await page.locator('.row').count(), 1, query)
    if (shown !== '') t.equal(await page.locator('.filter-chip').filter({ hasText: shown }).count(), 1)
  }
  await page.goto('/?tag=nightly&status=')
  await page.getByRole('button', { name: 'Remove the filter tag: nightly' }).click()
  await page.locator('.row').nth(1).waitFor()
  t.equal(new URL(page.url()).search, '')
})

testPage('an impossible filter is explained, and the page does not wait', {}, async (t, page) => {
  await page.goto('/?status=nonsense')
  await page.getByText('NONSENSE is not a status.').waitFor()
  t.notOk(await page.getByText('Connecting').isVisible())
  await page.getByRole('button', { name: 'Show all tasks' }).click()
  await page.locator('.row').nth(1).waitFor()
  await waitForLive(page)
  await page.goto('/?status=SCHEDULED&status=FAILED')
  await page.getByText('SCHEDULED, FAILED is not a status.').waitFor()
  await page.goto('/?createdAfter=yesterday')
  await page.getByRole('alert').filter({ hasText: 'createdAfter' }).waitFor()
  await page.getByRole('button', { name: 'Show all tasks' }).click()
  await page.locator('.row').nth(1).waitFor()
})

testPage('an invisible title has a replacement text, and tags are isolated', {}, async (t, page) => {
  await page.goto(`/tasks/${blank.id}`)
  await detailOf(page).getByRole('heading', { name: '(blank title) demo.sleep' }).waitFor()
  t.equal(await page.locator(`.row[href$="${blank.id}"] .row-title`).innerText(), '(blank title) demo.sleep')
  await page.goto(`/tasks/${nightly.id}`)
  await page.locator('.facts bdi').nth(2).waitFor()
  t.same(await page.locator('.facts bdi').allTextContents(), nightly.tags)
})
