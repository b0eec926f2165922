/**
 * The page behind a proxy that answers in place of the server, and over an unreliable network: errors are explained,
 * and disappear when they are over.
 */
import type { ServerResponse } from 'node:http'
import type { Page } from 'playwright-core'
import t from 'tap'
import { startApp } from '../helpers/app.js'
import { launchBrowser } from '../helpers/browser.js'
import { answerHtml, startHttpProxy } from '../helpers/http-proxy.js'
import { createTask, definePageTests, detailOf, waitForLive, waitForStatus } from '../helpers/page.js'

const app = await startApp(t, ['worker', 'relay'])
const proxy = await startHttpProxy(t, app.address)
const browser = await launchBrowser(t)
const testPage = definePageTests(t, browser, proxy.address)
/** Chromium logs this for every failed request. */
const expected = /Failed to load resource|net::ERR_|WebSocket connection/
const LONG = { payload: { steps: 1_000, stepMs: 100 } }

t.beforeEach(() => {
  proxy.answer = () => false
  proxy.isUpgrading = true
})

/** Makes the proxy answer these requests itself. */
function answerTo(path: RegExp, answer: (response: ServerResponse) => unknown): void {
  proxy.answer = ({ method, url = '' }, response) => {
    if (!path.test(`${method} ${url}`)) return false
    answer(response)
    return true
  }
}

async function openRunning(page: Page): Promise<void> {
  const task = await createTask(app.address, LONG)
  await page.goto(`/tasks/${task.id}`)
  await waitForStatus(page, 'PROCESSING')
  await waitForLive(page)
}

async function pressCancel(page: Page): Promise<void> {
  await detailOf(page).getByRole('button', { name: 'Cancel' }).click()
  await detailOf(page).getByRole('button', { name: 'Really cancel?' }).click()
}

/** The text of the message; empty if there is no error. */
const trouble = (page: Page) => page.locator('article [role=alert]')

testPage('a failed cancel is explained, and the message disappears when it succeeds', { expected }, async (t, page) => {
  await openRunning(page)
  for (const [answer, words] of [
    [
      (response) => answerHtml(response, 502),
      'The server is not answering its proxy (502). Wait a moment, then try again.',
    ],
    [
      (response) => answerHtml(response, 504),
      'The server did not answer its proxy in time (504). Wait a moment, then try again.',
    ],
    [(response) => response.writeHead(503).end(), 'The server is not available (503). Wait a moment, then try again.'],
    [
      (response) => answerHtml(response, 413),
      'The request is too large for a proxy (413). Send less, or raise the limit of the proxy (nginx: client_max_body_size).',
    ],
    [
      (response) => answerHtml(response, 431),
      'The request headers are too large for a proxy (431). Delete the cookies of this site, then try again; or raise the limit of the proxy.',
    ],
    [
      (response) => answerHtml(response, 200),
      'The answer was a web page, perhaps a sign-in page. Reload the page, and sign in if you are asked to.',
    ],
    [
      (response) => response.writeHead(302, { location: 'https://sign-in.example/' }).end(),
      'A proxy redirected the request, perhaps to a sign-in page. Reload the page, and sign in if you are asked to.',
    ],
    [(response) => response.writeHead(200).end(), 'The answer is empty. Wait a moment, then try again.'],
    [
      (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{"id": "019a'),
      'The answer is incomplete, or not from Taskwire. Wait a moment, then try again.',
    ],
    [(response) => response.destroy(), 'The server cannot be reached. Try again.'],
  ] as const satisfies [(response: ServerResponse) => unknown, string][]) {
    answerTo(/POST .*\/cancel/, answer)
    await pressCancel(page)
    await trouble(page).getByText(words, { exact: true }).waitFor()
  }
  proxy.answer = () => false
  await pressCancel(page)
  await waitForStatus(page, 'CANCELLED')
  t.equal(await trouble(page).textContent(), '')
})

testPage('the message disappears once the server answers', { expected }, async (t, page) => {
  await openRunning(page)
  answerTo(/ \/api\//, (response) => answerHtml(response, 502))
  await pressCancel(page)
  await trouble(page)
    .getByText(/^The server is not answering its proxy/)
    .waitFor()
  await page.waitForResponse((response) => response.status() === 502) // the page checks whether the error is over
  t.not(await trouble(page).textContent(), '', 'the error is not over')
  proxy.answer = () => false
  await page.waitForFunction(() => document.querySelector('article [role=alert]')?.textContent === '')
})

testPage('the page says that it is offline, until the network is back', { expected }, async (_, page) => {
  await openRunning(page)
  await page.context().setOffline(true)
  await pressCancel(page)
  await trouble(page).getByText('This device is offline. Try again when you are back online.').waitFor()
  await page.context().setOffline(false)
  await page.waitForFunction(() => document.querySelector('article [role=alert]')?.textContent === '')
  await waitForLive(page)
  await pressCancel(page)
  await waitForStatus(page, 'CANCELLED')
})

testPage(
  'a request that is never answered is given up after a while, and the button works again',
  { expected },
  async (t, page) => {
    await openRunning(page)
    answerTo(/POST .*\/cancel/, () => {})
    await pressCancel(page)
    const button = detailOf(page).getByRole('button', { name: 'Cancelling…' })
    await button.waitFor()
    t.ok(await button.evaluate((element) => element === document.activeElement), 'meanwhile the button keeps the focus')
    await trouble(page).getByText('The server has not answered for 10 s. Try again.').waitFor()
    proxy.answer = () => false
    await pressCancel(page)
    await waitForStatus(page, 'CANCELLED')
  },
)

testPage(
  'a create whose answer was lost is explained, and repeating it creates one task',
  { expected },
  async (t, page) => {
    await page.goto('/new')
    await page.getByLabel('Steps').fill('0')
    await page.getByLabel('Title').fill('made once')
    const create = page.getByRole('button', { name: 'Create task' })
    const alert = page.getByRole('main').getByRole('alert')

    answerTo(/POST \/api\/tasks$/, (response) => answerHtml(response, 502))
    await create.click()
    await alert.getByText('The server is not answering its proxy (502).').waitFor()
    await alert.getByText('one task is created').waitFor()
    // The server receives the request, but its response is lost.
    proxy.answer = (request, response) => {
      if (request.method !== 'POST') return false
      const headers = {
        'content-type': 'application/json',
        'idempotency-key': String(request.headers['idempotency-key']),
      }
      void fetch(app.address + request.url, {
        method: 'POST',
        headers,
        body: request as unknown as ReadableStream,
        duplex: 'half',
      } as RequestInit).then(() => response.destroy())
      return true
    }
    await create.click()
    await alert.getByText('The server cannot be reached.').waitFor()
    proxy.answer = () => false
    await alert.waitFor({ state: 'hidden' })
    await create.click()
    await waitForStatus(page, 'COMPLETED')
    const { items } = (await (await fetch(`${app.address}/api/tasks?q=made+once`)).json()) as { items: unknown[] }
    t.equal(items.length, 1)
  },
)

testPage(
  'failed background reads are explained, and their content appears when they succeed',
  { expected },
  async (_, page) => {
    const notice = page.getByRole('main')
    for (const [path, request, content] of [
      ['/new', /GET \/api\/types/, 'Export tasks'],
      ['/types', /GET \/api\/types/, 'Export tasks'],
      ['/workers', /GET \/api\/workers/, 'Worker processes'],
    ] as const) {
      answerTo(request, (response) => answerHtml(response, 502))
      await page.goto(path)
      await notice
        .getByText(/^The server is not answering its proxy \(502\)\. Wait a moment, then try again\./)
        .waitFor()
      answerTo(request, (response) =>
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"status":"maintenance"}'),
      )
      await notice.getByText(/^The answer is incomplete, or not from Taskwire/).waitFor()
      proxy.answer = () => false
      await notice.getByText(content).first().waitFor({ state: 'attached' })
    }
  },
)

testPage('the history and files of a task appear once they can be read', { expected }, async (_, page) => {
  const task = await createTask(app.address, { type: 'report.generate' })
  answerTo(/GET .*\/(events|artifacts)/, (response) => answerHtml(response, 502))
  await page.goto(`/tasks/${task.id}`)
  await waitForStatus(page, 'COMPLETED')
  await page.waitForResponse((response) => response.url().endsWith('/artifacts') && response.status() === 502)
  proxy.answer = () => false
  await detailOf(page).getByRole('link', { name: 'report.html' }).waitFor()
  await page.locator('.timeline li').nth(2).waitFor()
})
