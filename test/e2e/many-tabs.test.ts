/**
 * Many tabs behind a proxy that does not forward WebSockets: the browser has only six connections, and the tabs must
 * not use them all up.
 */
import type { BrowserContext, Page } from 'playwright-core'
import t from 'tap'
import type * as Client from '../../public/task-stream.js'
import type { Task } from '../../src/protocol/task.js'
import { startApp } from '../helpers/app.js'
import { launchBrowser } from '../helpers/browser.js'
import { startHttpProxy } from '../helpers/http-proxy.js'
import { isDeep } from '../helpers/depth.js'
import { createTask, waitForLive, waitForStatus } from '../helpers/page.js'
import { waitUntil } from '../helpers/raw-client.js'

const app = await startApp(t, ['worker', 'relay'], { STREAM_HEARTBEAT_SECONDS: '1' })
const proxy = await startHttpProxy(t, app.address)
proxy.isUpgrading = false
const browser = await launchBrowser(t)

/** One more than the connections that the browser opens to a server. */
const TABS = 7

/** With `isBare`, pages have no Web Locks, as on plain HTTP. */
async function openContext(
  t: { teardown(run: () => unknown): unknown },
  { isBare = false } = {},
): Promise<BrowserContext> {
  const context = await browser.newContext({ baseURL: proxy.address, reducedMotion: 'reduce' })
  t.teardown(() => context.close())
  context.setDefaultTimeout(60_000)
  await context.addInitScript((isBare: boolean) => {
    if (isBare) Object.defineProperty(navigator, 'locks', { value: undefined })
    let state = 'visible'
    Object.defineProperty(document, 'visibilityState', { get: () => state })
    Object.assign(globalThis, {
      setVisibility(next: string) {
        state = next
        document.dispatchEvent(new Event('visibilitychange'))
      },
    })
  }, isBare)
  return context
}

const setVisibility = (page: Page, state: 'visible' | 'hidden') =>
  page.evaluate((next) => (globalThis as unknown as { setVisibility(next: string): void }).setVisibility(next), state)

async function openTab(context: BrowserContext): Promise<Page> {
  const page = await context.newPage()
  await page.goto('/')
  await waitForLive(page)
  return page
}

async function createIn(page: Page, title: string): Promise<void> {
  await page.getByLabel('Steps').fill('0')
  await page.getByLabel('Title').fill(title)
  await page.getByRole('button', { name: 'Create task' }).click()
  await waitForStatus(page, 'COMPLETED')
}

t.test(
  'with more visible tabs than the browser has connections each loads and is live, a create in the last one is answered, and all show the task',
  async (t) => {
    const context = await openContext(t)
    const tabs: Page[] = []
    for (let count = 0; count < TABS; count += 1) tabs.push(await openTab(context))
    const [last] = tabs.slice(-1)
    if (last === undefined) return t.fail('a tab')
    await createIn(last, 'from the last tab')
    for (const tab of tabs)
      await tab.locator('#list').getByRole('link', { name: 'from the last tab' }).getByText('COMPLETED').waitFor()
    t.ok(proxy.openStreams() < 6, `${proxy.openStreams()} streams are open`)
  },
)

t.test('without Web Locks, hidden tabs hold no stream, and one that becomes visible is updated', async (t) => {
  const context = await openContext(t, { isBare: true })
  const tabs: Page[] = []
  for (let count = 0; count < TABS; count += 1) {
    const before = tabs.at(-1)
    if (before !== undefined) await setVisibility(before, 'hidden')
    tabs.push(await openTab(context))
  }
  const [first, last] = [tabs[0], tabs.at(-1)]
  if (first === undefined || last === undefined) return t.fail('tabs')
  await createIn(last, 'while the others are hidden')
  await setVisibility(last, 'hidden')
  await setVisibility(first, 'visible')
  await first
    .locator('#list')
    .getByRole('link', { name: 'while the others are hidden' })
    .getByText('COMPLETED')
    .waitFor()
})

t.test('two windows side by side both hold a stream, with and without Web Locks', async (t) => {
  for (const isBare of isDeep ? [false, true] : [false]) {
    const context = await openContext(t, { isBare })
    const windows = [await openTab(context), await openTab(context)]
    await waitUntil(() => proxy.openStreams() === 2)
    const { title } = await createTask(app.address, { title: `seen twice ${isBare}`, payload: { steps: 0 } })
    for (const page of windows)
      await page.locator('#list').getByRole('link', { name: title }).getByText('COMPLETED').waitFor()
    await context.close()
    await waitUntil(() => proxy.openStreams() === 0)
  }
})

/** A page without live content of its own, as a developer's page would be. */
async function openOwn(context: BrowserContext): Promise<Page> {
  const page = await context.newPage()
  await page.goto('/docs/problems')
  return page
}

interface Watching {
  watches: { task?: Task; close(): void; finished: Promise<Task> }[]
}

/** Watches the task `count` times, over the given transports in turn, and resolves once every watch has the task. */
const watchIn = (page: Page, id: string, count = 1, transports = ['events']): Promise<void> =>
  page.evaluate(
    async ({ id, count, transports }) => {
      const { watchTask } = (await import(`${location.origin}/task-stream.js`)) as typeof Client
      const watches = Array.from({ length: count }, () => watchTask(id, { transports } as object))
      Object.assign(globalThis, { watches })
      while (watches.some(({ task }) => task === undefined)) await new Promise((resolve) => setTimeout(resolve, 20))
    },
    { id, count, transports },
  )
const endsIn = (page: Page): Promise<string[]> =>
  page.evaluate(async () =>
    (await Promise.all((globalThis as unknown as Watching).watches.map(({ finished }) => finished))).map(
      ({ status }) => status,
    ),
  )

t.test(
  "tabs of a developer's own page that each watch a task: one tab per slot holds a connection, the others poll, and all see the end",
  async (t) => {
    const context = await openContext(t)
    const { id } = await createTask(app.address, {
      title: 'watched',
      runAt: new Date(Date.now() + 3_600_000).toISOString(),
    })
    const tabs: Page[] = []
    for (let count = 0; count < TABS; count += 1) {
      const tab = await openOwn(context)
      await watchIn(tab, id, 1, [count % 2 === 0 ? 'events' : 'poll'])
      tabs.push(tab)
    }
    const [first, last] = [tabs[0], tabs.at(-1)]
    if (first === undefined || last === undefined) return t.fail('tabs')
    t.equal(await last.evaluate(async () => (await fetch('/api/types')).status), 200, 'a request gets through')
    await waitUntil(() => proxy.openStreams() === 2)
    await setVisibility(first, 'hidden')
    await waitUntil(() => proxy.openStreams() === 1 || proxy.openStreams() === 2)
    await fetch(`${app.address}/api/tasks/${id}/cancel`, { method: 'POST' })
    for (const tab of tabs) t.same(await endsIn(tab), ['CANCELLED'])
    await waitUntil(() => proxy.openStreams() === 0)
  },
)

t.test(
  'without Web Locks, one page that watches eight tasks leaves connections for requests, and gives them up when it is hidden',
  async (t) => {
    const context = await openContext(t, { isBare: true })
    const { id } = await createTask(app.address, {
      title: 'watched',
      runAt: new Date(Date.now() + 3_600_000).toISOString(),
    })
    const page = await openOwn(context)
    await watchIn(page, id, 8)
    t.equal(await page.evaluate(async () => (await fetch('/api/types')).status), 200)
    t.equal(proxy.openStreams(), 3)
    await setVisibility(page, 'hidden')
    await waitUntil(() => proxy.openStreams() === 0)
    await setVisibility(page, 'visible')
    await waitUntil(() => proxy.openStreams() === 3)
    await fetch(`${app.address}/api/tasks/${id}/cancel`, { method: 'POST' })
    t.same(
      await endsIn(page),
      Array.from({ length: 8 }, () => 'CANCELLED'),
    )
  },
)
