/** The page "Limits and pauses" and the page of a task that waits, with real roles. */
import type { Locator, Page } from 'playwright-core'
import t from 'tap'
import type { Limit, Pause, Weight } from '../../src/protocol/release.js'
import { launchBrowser } from '../helpers/browser.js'
import { answerHtml, startHttpProxy } from '../helpers/http-proxy.js'
import { createTask, definePageTests, checkWidths, waitForStatus } from '../helpers/page.js'
import { openScene } from '../helpers/scene.js'

const scene = await openScene(t, { WORKER_CONCURRENCY: '2' })
const [web, browser] = await Promise.all([
  scene.start('web'),
  launchBrowser(t),
  scene.start('relay'),
  scene.start('worker'),
])
const proxy = await startHttpProxy(t, web.address)
const testPage = definePageTests(t, browser, proxy.address)
/** Chromium logs this for every failed request. */
const expected = /Failed to load resource/

t.beforeEach(() => {
  proxy.answer = () => false
})

const heading = (page: Page, name: string): Locator => page.getByRole('heading', { name, exact: true })
const button = (page: Page, name: string): Locator => page.getByRole('button', { name, exact: true })
const entryOf = (page: Page, name: string): Locator => page.locator('.entry').filter({ has: heading(page, name) })
/** A field of the form that is open. */
const fieldOf = (page: Page, label: string): Locator =>
  page.locator('.entry-form:not([hidden])').getByLabel(new RegExp(`^${label}\\s*(required)?$`))
const errorOf = (page: Page, label: string): Locator => fieldOf(page, label).locator('xpath=..').locator('.error')
const isFocused = (locator: Locator): Promise<boolean> =>
  locator.evaluate((element) => element === document.activeElement)
const announcement = (page: Page, words: string): Promise<void> =>
  page.locator('#announcer').getByText(words).waitFor({ state: 'attached' })

/** Answers these paths with these items, instead of the server. */
function answerWith(lists: Record<string, object[]>): void {
  proxy.answer = ({ url = '' }, response) => {
    if (lists[url] === undefined) return false
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ items: lists[url] }))
    return true
  }
}

/** Resolves once the page has read the pauses again. */
async function moreReads(page: Page): Promise<void> {
  await (await page.waitForResponse((response) => response.url().endsWith('/api/pauses'))).finished()
}

async function ask(method: 'PUT' | 'POST', path: string, body: object = {}): Promise<void> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(web.address + path, { method, headers, body: JSON.stringify(body) })
  t.ok(answer.ok, `${method} ${path}: ${answer.status}`)
}

testPage(
  'a type is paused and resumed on the page, and its task says why it waits until it starts',
  { expected },
  async (t, page) => {
    await page.goto('/')
    await page.getByRole('link', { name: 'Limits' }).click()
    await page.getByText('Nothing is paused.').waitFor()
    t.equal(new URL(page.url()).pathname, '/limits')

    await button(page, 'Pause something').click()
    await page.keyboard.press('Escape')
    t.ok(await isFocused(button(page, 'Pause something')), 'the form can be left by the keyboard')
    await page.keyboard.press('Enter')
    t.ok(await isFocused(fieldOf(page, 'What')), 'the form is filled in from its first field')
    await button(page, 'Pause it').click()
    await errorOf(page, 'Name').getByText('Is empty: enter a name.').waitFor()
    t.ok(await isFocused(fieldOf(page, 'Name')), 'the focus is on what must be fixed')
    await fieldOf(page, 'Name').fill('demo.sleeep')
    await fieldOf(page, 'Until').fill('2020-01-01T10:00')
    await page.keyboard.press('Enter')
    await errorOf(page, 'Until').getByText('Must be later than now.').waitFor()
    await fieldOf(page, 'Until').fill('')
    await fieldOf(page, 'Reason').fill('mail server moves')
    await button(page, 'Pause it').click()
    await errorOf(page, 'Name').getByText('"demo.sleeep" is not one of').waitFor()
    await fieldOf(page, 'Name').fill('demo.sleep')
    await moreReads(page)
    t.equal(await fieldOf(page, 'Reason').inputValue(), 'mail server moves', 'reading changes no field')
    await page.keyboard.press('Enter')
    const entry = entryOf(page, 'Type demo.sleep')
    await entry.getByText('mail server moves').waitFor()
    t.match(await entry.innerText(), /Paused by anonymous .*, until it is resumed/)
    await announcement(page, 'Paused: the type demo.sleep')
    t.ok(await isFocused(button(page, 'Pause something')))

    const { id } = await createTask(web.address, { type: 'demo.sleep', payload: { steps: 0 } })
    await page.goto(`/tasks/${id}`)
    await page.locator('.standing', { hasText: /demo\.sleep is paused by anonymous: mail server moves/ }).waitFor()
    await page.locator('.glance').getByText('Paused', { exact: true }).waitFor()
    await page.getByRole('article').getByRole('link', { name: 'Limits and pauses' }).click()

    const resume = button(page, 'Resume the type demo.sleep')
    await resume.hover()
    await page.mouse.down()
    await ask('PUT', '/api/pauses/queue/default', { reason: 'another one' })
    await moreReads(page)
    t.equal(await page.locator('.entry').count(), 1, 'nothing moves under a press')
    await page.mouse.up()
    await entryOf(page, 'Type demo.sleep').waitFor({ state: 'detached' })
    await announcement(page, 'Resumed: the type demo.sleep')
    t.ok(await isFocused(heading(page, 'Pauses')), 'the focus is not lost with the entry')

    await page.goto(`/tasks/${id}`)
    await page.locator('.standing', { hasText: /default is paused by anonymous: another one/ }).waitFor()
    await fetch(`${web.address}/api/pauses/queue/default`, { method: 'DELETE' })
    await waitForStatus(page, 'COMPLETED')
    await page.locator('.standing', { hasText: /^Completed in/ }).waitFor()
    t.notOk(await page.locator('.waiting').isVisible(), 'a task that has ended waits for nothing')
  },
)

testPage('a limit is added, shown, changed and deleted', { expected }, async (t, page) => {
  await page.goto('/limits')
  await page.getByText('No limits are set.').waitFor()
  await button(page, 'Add a limit').click()
  await fieldOf(page, 'Name').fill('Sleepers')
  await fieldOf(page, 'At a time').fill('0')
  await button(page, 'Add it').click()
  await errorOf(page, 'Name').getByText('Must begin with a lower-case letter').waitFor()
  await errorOf(page, 'At a time').getByText('Must be a whole number, at least 1.').waitFor()
  await fieldOf(page, 'Name').fill('sleepers')
  await fieldOf(page, 'At a time').fill('1')
  await fieldOf(page, 'Types').fill('demo.sleep, no.such')
  await button(page, 'Add it').click()
  await errorOf(page, 'Types').getByText('"no.such" is not one of').waitFor()
  await fieldOf(page, 'Types').fill('demo.sleep')
  proxy.answer = ({ method }, response) => method === 'PUT' && answerHtml(response, 502)
  await button(page, 'Add it').click()
  await page.getByText('The server is not answering its proxy (502).').waitFor()
  proxy.answer = () => false
  await button(page, 'Add it').click()

  const entry = entryOf(page, 'sleepers')
  await entry.getByText('At most 1 at a time.').waitFor()
  await announcement(page, 'Added: the limit sleepers')
  t.match(await entry.innerText(), /Tasks of the type demo\.sleep\.\s+0 of 1 running\s+Set by anonymous/)
  const [running, waiting] = [
    await createTask(web.address, { type: 'demo.sleep', payload: { steps: 1_000, stepMs: 1_000 } }),
    await createTask(web.address, { type: 'demo.sleep', payload: { steps: 0 } }),
  ]
  await entry.getByText('1 of 1 running').waitFor()
  t.notOk(await heading(page, 'Needs attention').isVisible(), 'a limit that is full does its work')

  await button(page, 'Add a limit').click()
  await fieldOf(page, 'Name').fill('sleepers')
  await fieldOf(page, 'At a time').fill('7')
  await page.keyboard.press('Enter')
  await errorOf(page, 'Name').getByText('Is already the name of a limit').waitFor()
  await button(page, 'Close without adding').click()

  await page.goto(`/tasks/${waiting.id}`)
  await page.locator('.standing', { hasText: /sleepers/ }).waitFor()
  t.equal(
    await page.getByRole('article').getByRole('link', { name: running.id }).count(),
    1,
    'it links to what holds it',
  )
  await page.goto('/limits')
  await button(page, 'Edit the limit sleepers').click()
  t.equal(await fieldOf(page, 'At a time').inputValue(), '1')
  await fieldOf(page, 'At a time').fill('2')
  await fieldOf(page, 'Reason').fill('more room')
  await page.keyboard.press('Enter')
  await entry.getByText('At most 2 at a time.').waitFor()
  await entry.getByText('more room').waitFor()
  t.match(await entry.innerText(), /Tasks of the type demo\.sleep\./, 'the rest of it stays')
  await scene.ended([waiting.id])

  await button(page, 'Delete the limit sleepers').click()
  await button(page, 'Really delete the limit sleepers?').click()
  await page.getByText('No limits are set.').waitFor()
  await announcement(page, 'Deleted: the limit sleepers')
  t.ok(await isFocused(heading(page, 'Limits')), 'the focus is not lost with the entry')
  await ask('POST', `/api/tasks/${running.id}/cancel`)
})

testPage('a rate keeps its burst when its number is changed', { expected }, async (t, page) => {
  await ask('PUT', '/api/limits/calls', { rate: { limit: 10, periodMs: 900_000, burst: 4 }, whenOver: 'skip' })
  await page.goto('/limits')
  const entry = entryOf(page, 'calls')
  await entry.getByText('At most 10 starts per 15 minutes, up to 4 at once after a quiet time.').waitFor()
  t.match(await entry.innerText(), /All tasks\. Tasks over it are cancelled\.\s+4 can start now/)
  await button(page, 'Edit the limit calls').click()
  t.equal(await entry.getByLabel('Unit of the period').locator('option:checked').innerText(), 'minutes')
  await fieldOf(page, 'Starts').fill('20')
  await fieldOf(page, 'Period').fill('1')
  await page.keyboard.press('Enter')
  await entry.getByText('At most 20 starts per minute, up to 4 at once after a quiet time.').waitFor()
  t.match(await entry.innerText(), /Tasks over it are cancelled/)
  await fetch(`${web.address}/api/limits/calls`, { method: 'DELETE' })
})

testPage('keys are set in the form, and a sequence that has halted is resumed', { expected }, async (t, page) => {
  await page.goto('/new/demo.sleep')
  await page.getByLabel('Steps').fill('1')
  await page.getByLabel('Fail at').fill('1')
  t.notOk(await page.getByLabel('Sequence key').isVisible(), 'what few tasks need is collapsed')
  await page.getByText('More options').click()
  await page.getByLabel('Concurrency key').fill('customer-4711 ')
  await page.getByLabel('Sequence key').fill('order \u202e88')
  await page.getByLabel('Cost').fill('1.5')
  await button(page, 'Create task').click()
  await page.getByText('must be a whole number from 1 to 1,000').waitFor()
  await page.getByLabel('Cost').fill('3')
  await button(page, 'Create task').click()
  await waitForStatus(page, 'FAILED')
  const facts = page.locator('.facts')
  t.match(await facts.innerText(), /Concurrency key\s+customer-4711\n[^]*Sequence key\s+order \u202e88\n[^]*Cost\s+3/)
  const behind = await createTask(web.address, {
    type: 'demo.sleep',
    payload: { steps: 0 },
    sequenceKey: 'order \u202e88',
  })
  await page.goto(`/tasks/${behind.id}`)
  await page.locator('.glance').getByText('Halted', { exact: true }).waitFor()
  await page.goto('/limits')
  await page
    .getByText(/^The sequence .* is halted: one of its tasks failed or expired, and those behind it wait\.$/)
    .waitFor()
  await page.getByText('1 task behind it waits.').waitFor()
  await page.getByRole('button', { name: /^Resume the sequence/ }).click()
  await heading(page, 'Needs attention').waitFor({ state: 'hidden' })
  await scene.ended([behind.id])
})

testPage('a weight is set, replaced and removed', { expected }, async (t, page) => {
  await page.goto('/limits')
  await page.getByText('All tenants, and all keys of a tenant, get equal shares.').waitFor()
  await button(page, 'Set a weight').click()
  await fieldOf(page, 'Weight').fill('0')
  await button(page, 'Set it').click()
  await errorOf(page, 'Name').getByText('Is empty: enter a name.').waitFor()
  await errorOf(page, 'Weight').getByText('Must be a number from 0.01 to 1,000.').waitFor()
  await fieldOf(page, 'Name').fill('order \u202e88')
  await fieldOf(page, 'Weight').fill('2.5')
  await fieldOf(page, 'Reason').fill('a large contract')
  await button(page, 'Set it').click()
  const key = entryOf(page, 'Concurrency key order \u202e88')
  await key.getByText('2.5 times the share').waitFor()
  t.match(await key.innerText(), /a large contract\s+Set by anonymous/)
  await announcement(page, 'Set: the weight of the concurrency key')
  t.ok(await isFocused(button(page, 'Set a weight')))

  await page.keyboard.press('Enter')
  await fieldOf(page, 'Of a').selectOption('tenant')
  await fieldOf(page, 'Name').fill('gold')
  await fieldOf(page, 'Weight').fill('10')
  await page.keyboard.press('Enter')
  const tenant = entryOf(page, 'Tenant gold')
  await tenant.getByText('10 times the share').waitFor()
  await ask('PUT', '/api/weights/tenant/gold', { weight: 0.5, reason: 'by somebody else' })
  await tenant.getByText('0.5 times the share').waitFor()
  await tenant.getByText('by somebody else').waitFor()

  await button(page, 'Remove the weight of the tenant \u2068gold\u2069').click()
  await tenant.waitFor({ state: 'detached' })
  await announcement(page, 'Removed: the weight of the tenant')
  t.ok(await isFocused(heading(page, 'Weights')), 'the focus is not lost with the entry')
  await key.getByRole('button', { name: /^Remove the weight of the concurrency key/ }).click()
  await page.getByText('All tenants, and all keys of a tenant, get equal shares.').waitFor()
})

testPage('of hundreds of halted sequences the first are shown, and more on request', {}, async (t, page) => {
  const halted = Array.from({ length: 45 }, (_, index) => ({
    ...{ key: `document-${index}`, haltedBy: '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10' },
    ...{ haltedAt: new Date(0).toISOString(), waiting: 5 },
  }))
  answerWith({ '/api/sequences': halted })
  await page.goto('/limits')
  await page.locator('article').getByText('45 sequences are halted').waitFor()
  await page.getByText('20 of 45 are shown.').waitFor()
  t.equal(await page.locator('.entry').count(), 20)
  const more = button(page, 'Show more: Halted sequences')
  await more.click()
  await page.getByText('40 of 45 are shown.').waitFor()
  await moreReads(page)
  t.equal(await page.locator('.entry').count(), 40, 'they stay when the page reads again')
  t.ok(await isFocused(more))
  await more.click()
  await heading(page, 'document-44').waitFor()
  t.notOk(await more.isVisible())
  t.ok(
    await isFocused(button(page, 'Resume the sequence \u2068document-40\u2069')),
    'the focus is on the first new one',
  )
})

testPage('many limits and pauses with long names fit everywhere', {}, async (t, page) => {
  const set = { setBy: 'a'.repeat(200), setAt: new Date(0).toISOString(), reason: 'r'.repeat(500) }
  const pauses: Pause[] = (['queue', 'type', 'tenant', 'key'] as const).flatMap((kind) =>
    [0, 1, 2].map((index) => ({ ...set, kind, name: `${'n'.repeat(199)}${index}`, until: null })),
  )
  const use: Limit['use'] = [0, 1, 2, 3, 4, 5, 6].map((key) => ({
    tenant: 't'.repeat(200),
    key: `${'k'.repeat(199)}${key}`,
    running: 99_999,
    left: 1,
  }))
  const limits: Limit[] = [0, 1].map((index) => ({
    ...set,
    name: `${'l'.repeat(99)}${index}`,
    types: ['t'.repeat(100)],
    queue: 'q'.repeat(50),
    tenant: null,
    per: 'key',
    concurrency: 100_000,
    rate: null,
    whenOver: 'delay',
    source: 'api',
    use,
  }))
  const sequences = [
    { key: 'k'.repeat(200), haltedBy: '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10', haltedAt: set.setAt, waiting: 5 },
  ]
  const weights: Weight[] = [null, 'k'.repeat(200)].map((key) => ({
    ...{ ...set, tenant: 't'.repeat(200), key, weight: 999.999999999 },
  }))
  answerWith({ '/api/pauses': pauses, '/api/limits': limits, '/api/sequences': sequences, '/api/weights': weights })
  await page.goto('/limits')
  await page.locator('.entry').nth(16).waitFor()
  for (const name of ['Pause something', 'Add a limit', 'Set a weight', `Edit the limit ${limits[0]?.name}`])
    await button(page, name).click()
  await checkWidths(t, page)
})
