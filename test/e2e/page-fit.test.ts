/** The page on small and large screens, with long words, by keyboard alone and without JavaScript; and its form. */
import type { Page } from 'playwright-core'
import t from 'tap'
import { startApp } from '../helpers/app.js'
import { launchBrowser } from '../helpers/browser.js'
import {
  checkHistory,
  createTask,
  definePageTests,
  detailOf,
  overflowOf,
  waitForLive,
  waitForStatus,
} from '../helpers/page.js'

const app = await startApp(t, ['worker', 'relay'])
const browser = await launchBrowser(t)
const testPage = definePageTests(t, browser, app.address)
const WORD = 'Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft'
const TITLE = WORD.repeat(3).slice(0, 200)

/** No server listens there: the task fails with a long message. */
const FAILED_URL = `https://${'x'.repeat(60)}.invalid/${'y'.repeat(300)}`

testPage(
  'nothing is wider than the screen, in any state, at 320, 768 and 1280 pixels and when text is enlarged',
  { expected: /status of 40|response code: 40/ },
  async (t, page) => {
    t.equal(await widest(page, '/', () => page.getByText('No tasks yet.').waitFor()), 0, 'the empty list')
    const failed = await createTask(app.address, {
      title: TITLE,
      payload: { steps: 2, stepMs: 1, failAt: 1 },
      tags: [WORD.slice(0, 50), 'y'.repeat(50)],
      uniqueKey: 'k'.repeat(200),
    })
    const done = await createTask(app.address, { type: 'report.generate', title: TITLE })
    const running = await createTask(app.address, { title: TITLE, payload: { steps: 1_000, stepMs: 500 } })
    const called = await createTask(app.address, {
      type: 'http.request',
      title: 'a long failure',
      payload: { url: FAILED_URL },
    })
    const later = await createTask(app.address, { title: 'later', delayMs: 86_400_000 })
    const states: [string, () => Promise<unknown>][] = [
      ['/', () => page.locator('.row').nth(3).waitFor()],
      ['/?status=nonsense', () => page.getByText('nonsense is not a status.').waitFor({ state: 'attached' })],
      [`/tasks/${failed.id}`, () => waitForStatus(page, 'FAILED')],
      [`/tasks/${done.id}`, () => detailOf(page).getByRole('link', { name: 'report.html' }).waitFor()],
      [`/tasks/${running.id}`, () => waitForStatus(page, 'PROCESSING')],
      [`/tasks/${called.id}`, () => page.locator('.timeline li').nth(1).waitFor()],
      [`/tasks/${later.id}`, () => waitForStatus(page, 'SCHEDULED')],
      [
        '/tasks/019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10',
        () => page.getByRole('heading', { name: 'There is no such task' }).waitFor(),
      ],
      [`/tasks/${WORD}`, () => page.getByRole('heading', { name: 'The id is malformed' }).waitFor()],
      ['/new/http.request', () => page.getByLabel('URL').waitFor()],
      ['/types', () => page.getByRole('heading', { name: 'Task types' }).waitFor()],
      ['/types/http.request', () => page.getByRole('link', { name: 'Create one' }).waitFor()],
      ['/workers', () => page.getByRole('heading', { name: 'Worker processes' }).waitFor()],
      [`/types/${WORD}`, () => page.getByRole('heading', { name: 'There is no such type' }).waitFor()],
      ['/playground.html', () => page.locator('#code-table tr').nth(3).waitFor()],
      ['/docs/problems', () => page.getByRole('heading', { name: 'Errors of the API' }).waitFor()],
    ]
    for (const [path, isThere] of states) t.equal(await widest(page, path, isThere), 0, path)
  },
)

/** The largest overflow of the document beyond its window, over all sizes. */
async function widest(page: Page, path: string, isThere: () => Promise<unknown>): Promise<number> {
  await page.goto(path)
  await isThere()
  const overflows: number[] = []
  for (const width of [320, 768, 1280]) {
    await page.setViewportSize({ width, height: 700 })
    overflows.push(await overflowOf(page))
  }
  // For readers who need double text size in a small window. 1280 pixels at 400 % zoom equal the 320 above (WCAG
  // 1.4.10).
  await page.setViewportSize({ width: 640, height: 700 })
  await page.evaluate(() => (document.documentElement.style.fontSize = '200%'))
  overflows.push(await overflowOf(page))
  return Math.max(...overflows)
}

testPage('the tab key follows the reading order of the header, then the scrollable parts', {}, async (t, page) => {
  const task = await createTask(app.address, { payload: { steps: 2, stepMs: 1, failAt: 1 } })
  await page.goto(`/tasks/${task.id}`)
  await waitForStatus(page, 'FAILED')
  const places = await page
    .locator('header a')
    .evaluateAll((links) => links.map((link) => Math.round(link.getBoundingClientRect().left)))
  t.same(
    places,
    [...places].sort((a, b) => a - b),
    'the tab order is the visual order',
  )
  await page.locator('#main').focus()
  const reached: string[] = []
  for (let step = 0; step < 30; step += 1) {
    await page.keyboard.press('Tab')
    reached.push(
      await page.evaluate(
        () => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.tagName ?? '',
      ),
    )
  }
  t.ok(reached.includes('Failure message'), `a long failure can be scrolled: ${reached.join()}`)
  const unreachable = await page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>('body *')]
      .filter(
        (element) =>
          ['auto', 'scroll'].includes(getComputedStyle(element).overflowY) &&
          element.tagName !== 'TEXTAREA' &&
          element.tagName !== 'SELECT',
      )
      .filter((element) => element.tabIndex < 0 && element.querySelector('a, button, input') === null)
      .map((element) => element.className),
  )
  t.same(unreachable, [], 'every scrollable part can be reached')
})

// A JSON document has no icon, so the browser requests /favicon.ico. On a desktop: without-javascript.test.ts.
testPage(
  'without JavaScript a phone shows what to do',
  { expected: /404/, javaScriptEnabled: false, viewport: { width: 320, height: 700 } },
  async (t, page) => {
    await page.goto('/')
    t.ok(await page.getByRole('heading', { name: 'This page needs JavaScript' }).isVisible())
    t.notMatch(await page.locator('body').innerText(), /Connecting/)
    t.match(await page.locator('pre').innerText(), /curl \$TASKWIRE\/api\/tasks -H/)
    const links = await page.getByRole('link').evaluateAll((all) => all.map((link) => (link as HTMLAnchorElement).href))
    for (const link of links) t.equal((await fetch(link)).status, 200, link)
    await page.getByRole('link', { name: 'The newest tasks' }).click()
    t.match(await page.locator('body').innerText(), /"items":\[/)
  },
)

testPage(
  'if the program does not start, the page is not blank',
  { expected: /404|Failed to load/ },
  async (t, page) => {
    await page.route('**/format/times.js', (route) => route.fulfill({ status: 404, body: '' }))
    await page.goto('/')
    await page.getByRole('heading', { name: 'This page needs JavaScript' }).waitFor()
    await page.unroute('**/format/times.js')
    await page.getByRole('link', { name: 'reload the page' }).click()
    await waitForLive(page)
    // The list is live before the module of the page is loaded.
    await page.locator('#fallback').waitFor({ state: 'detached' })
  },
)

testPage(
  'every error of a field is shown, with the locations of nested values',
  { expected: /status of 4/ },
  async (t, page) => {
    await page.goto('/new/http.request')
    await page.getByLabel('URL').fill('https://example.com/')
    await page.getByLabel('Headers').fill('{"a": 1, "b": 2, "c": "fine"}')
    await page.getByRole('button', { name: 'Create task' }).click()
    const errors = page.locator('.field', { has: page.getByLabel('Headers') }).locator('.error')
    await errors.nth(1).waitFor()
    const texts = (await errors.allInnerTexts()).join('\n')
    t.match(texts, /\/a: /)
    t.match(texts, /\/b: /)
    t.match(
      await page.getByLabel('Headers').getAttribute('aria-describedby'),
      String(await errors.first().locator('..').getAttribute('id')),
    )
    await page.getByLabel('Headers').fill('')
    await page.getByLabel('URL').fill('')
    await page.getByRole('button', { name: 'Create task' }).click()
    await page.getByText('Is missing.').waitFor()
    t.equal(await errors.count(), 0, 'corrected errors disappear')
  },
)

testPage(
  'typed values stay with their type, and are carried over to fields that another type has too',
  {},
  async (t, page) => {
    await page.goto('/new')
    const type = page.getByLabel('Type', { exact: true })
    await page.getByLabel('Title').fill('kept')
    await type.selectOption('demo.sleep')
    await page.getByLabel('Steps').fill('7')
    await type.selectOption('http.request')
    t.equal(await page.getByLabel('Title').inputValue(), 'kept')
    await page.getByLabel('URL').fill('https://example.com/a')
    await page.getByLabel('Method').selectOption({ label: 'POST' })
    await type.selectOption('image.thumbnail')
    t.equal(await page.getByLabel('URL').inputValue(), 'https://example.com/a', 'a field of both types')
    await page.getByLabel('URL').fill('https://example.com/b')
    await type.selectOption('demo.sleep')
    t.equal(await page.getByLabel('Steps').inputValue(), '7')
    await page.getByLabel('Steps').fill('0')
    await type.selectOption('http.request')
    t.equal(await page.getByLabel('URL').inputValue(), 'https://example.com/a', 'each type keeps its own values')
    t.equal(await page.getByLabel('Method').locator('option:checked').innerText(), 'POST')
    await page.getByRole('link', { name: 'Types' }).click()
    await page.getByRole('link', { name: 'New task' }).click()
    await type.selectOption('demo.sleep')
    await page.getByRole('button', { name: 'Create task' }).click()
    await waitForStatus(page, 'COMPLETED')
    await checkHistory(t, page, ['PENDING', 'PROCESSING', 'COMPLETED'])
    t.match(await page.title(), /kept/)
  },
)

testPage(
  'an error from the server is shown at its field, which gets the focus',
  { expected: /status of 4/ },
  async (t, page) => {
    await page.goto('/new')
    await page.getByLabel('Type', { exact: true }).selectOption('http.request')
    await page.getByLabel('Headers').fill('{"accept": ')
    await page.getByRole('button', { name: 'Create task' }).click()
    await page.getByText(/^Is not JSON:/).waitFor()

    await page.getByLabel('Headers').fill('')
    await page.getByRole('button', { name: 'Create task' }).click()
    await page.getByText('Is missing.').waitFor()
    const url = page.getByLabel('URL')
    t.equal(await url.getAttribute('aria-invalid'), 'true')
    t.ok(await url.evaluate((element) => element === document.activeElement))
    t.match(await page.getByRole('alert').innerText(), 'The payload does not match the schema of its type')

    await page.getByLabel('Type', { exact: true }).selectOption('demo.sleep')
    t.notOk(await page.getByRole('alert').isVisible(), 'another type starts with an empty form')
  },
)

testPage('a form follows any JSON Schema', {}, async (t, page) => {
  await page.goto('/')
  const read = await page.evaluate(async (schema) => {
    const { createFields } = (await import(`${location.origin}/parts/fields.js`)) as FormModule
    const fields = createFields(schema, '', new Map())
    const form = document.createElement('form')
    form.append(...fields.elements)
    const empty = fields.read([])
    const entries = ['text', '2.5', '', 'on', '2026-11-20T10:00:00', '0', '1', 'Berlin', '[1, 2]', '{']
    form.querySelectorAll<HTMLInputElement>('input, select, textarea').forEach((control, index) => {
      if (control.type === 'checkbox') control.checked = true
      else control.value = entries[index] ?? ''
    })
    const violations: { pointer: string }[] = []
    return {
      empty,
      filled: fields.read(violations),
      violations: violations.map(({ pointer }) => pointer),
      groups: form.querySelectorAll('fieldset').length,
    }
  }, ANY_SCHEMA)
  t.same(read.empty, {})
  t.match(read, { groups: 1, violations: ['/a~1b'] })
  const at = await page.evaluate(() => new Date('2026-11-20T10:00:00').toISOString())
  t.strictSame(read.filled, {
    text: 'text',
    ratio: 2.5,
    on: true,
    at,
    level: 'high',
    mode: 'fast',
    where: { city: 'Berlin' },
    list: [1, 2],
  })
})

interface FormModule {
  createFields(
    schema: unknown,
    pointer: string,
    places: Map<string, unknown>,
  ): { elements: Element[]; read(violations: { pointer: string }[]): unknown }
}

/** One member for each kind of field, in the order in which the test fills them. */
const ANY_SCHEMA = {
  type: 'object',
  required: ['text'],
  properties: {
    text: { type: 'string' },
    ratio: { type: 'number', minimum: 0 },
    count: { type: 'integer', default: 3 },
    on: { type: 'boolean' },
    at: { type: 'string', format: 'date-time' },
    level: { enum: ['low', 'high'], default: 'low' },
    mode: { anyOf: [{ const: 'slow' }, { const: 'fast' }, { type: 'null' }] },
    where: { type: 'object', properties: { city: { type: 'string' } } },
    list: { type: 'array', items: { type: 'number' } },
    'a/b': {},
  },
}
