/** The page "Workers", with real worker processes: what it shows, and draining by its buttons. */
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Locator, Page } from 'playwright-core'
import t from 'tap'
import type { Worker, WorkerList } from '../../src/protocol/worker.js'
import { drainWorker, recordHeartbeat, type WorkerReport } from '../../src/store/workers.js'
import { launchBrowser } from '../helpers/browser.js'
import { answerHtml, startHttpProxy } from '../helpers/http-proxy.js'
import { definePageTests, checkWidths, waitForLive } from '../helpers/page.js'
import { openScene } from '../helpers/scene.js'

const scene = await openScene(t, { QUEUES: 'reports', ATTEMPT_LEASE_SECONDS: '4' })
const [web, browser] = await Promise.all([scene.start('web'), launchBrowser(t), scene.start('relay')])
const proxy = await startHttpProxy(t, web.address)
const testPage = definePageTests(t, browser, proxy.address)
/** Chromium logs this for every failed request. */
const expected = /Failed to load resource|net::ERR_|WebSocket connection/
const DAY_MS = 86_400_000

t.beforeEach(() => {
  proxy.answer = () => false
})

/** From now on the proxy answers these requests like this. */
function answerTo(path: RegExp, answer: (response: ServerResponse) => unknown): void {
  proxy.answer = ({ method, url = '' }, response) => {
    if (!path.test(`${method} ${url}`)) return false
    answer(response)
    return true
  }
}

const startWorker = () => scene.start('worker', { WORKER_QUEUES: 'default:7' })
const entryOf = (page: Page, pid: number | undefined): Locator => page.locator('.worker').filter({ hasText: `${pid}` })
const heading = (page: Page, name: string): Locator => page.getByRole('heading', { name, exact: true })

/** Resolves once the page has read the workers again. */
async function moreReads(page: Page, times = 1): Promise<void> {
  for (let turn = 0; turn < times; turn += 1)
    await (await page.waitForResponse((response) => response.url().endsWith('/api/workers'))).finished()
}

/** Resolves once the worker has this state. */
const waitForState = (entry: Locator, state: string): Promise<void> =>
  entry.locator('.status').getByText(state, { exact: true }).waitFor()

testPage(
  'the page says what is missing, and its buttons drain and resume workers in place',
  { expected },
  async (t, page) => {
    const waiting = await scene.create({ queue: 'reports', payload: { steps: 0 } })
    await page.goto('/')
    await page.getByRole('link', { name: 'Workers' }).click()
    await page.locator('.attention').getByText('No worker sends heartbeats.').waitFor()
    t.equal(new URL(page.url()).pathname, '/workers')
    t.match(await page.locator('.attention li').allInnerTexts(), [/Run npx taskwire worker .* npx taskwire start /])
    t.match(await page.locator('.queues').innerText(), /reports\s+no slots\s+no worker\s+tasks waiting/)

    const [first, second] = await Promise.all([startWorker(), startWorker()])
    const [entry, other] = [entryOf(page, first.child.pid), entryOf(page, second.child.pid)]
    await Promise.all([waitForState(entry, 'Running'), waitForState(other, 'Running')])
    await page.getByText('2 running', { exact: true }).waitFor()
    await page
      .getByText(
        'No worker takes tasks from the queue reports. Start a worker that serves it, or add it to WORKER_QUEUES.',
      )
      .waitFor()
    t.match(await page.locator('.queues').innerText(), /default\s+0 of 14 running\s+2 workers/)
    t.match(
      await entry.innerText(),
      /0 of 135 running\s+Queues\s+default 0 of 7, webhook-deliver 0 of 128\s+Last heartbeat\s+\S[^]*Version\s+\d+\./,
    )

    const drain = entry.getByRole('button', { name: `Drain the worker ${first.child.pid}` })
    const resume = entry.getByRole('button', { name: `Resume the worker ${first.child.pid}` })
    await drain.click()
    await page.keyboard.type('kernel \u202e update')
    await entry.evaluate((element) => Object.assign(element, { isMarked: true }))
    await moreReads(page)
    const reason = entry.getByLabel('Reason')
    t.equal(await reason.inputValue(), 'kernel \u202e update')
    t.ok(await isFocused(reason), 'the focus stays while the page reads')

    answerTo(/POST .*\/drain/, (response) => answerHtml(response, 502))
    await page.keyboard.press('Enter')
    const trouble = entry.locator('[role=alert]')
    await trouble.getByText('The server is not answering its proxy (502). Wait a moment, then try again.').waitFor()
    proxy.answer = () => false
    await entry.getByRole('button', { name: 'Drain now' }).click()
    await waitForState(entry, 'Drained')
    t.equal(await trouble.textContent(), '', 'an error that is over is gone')
    t.ok(await isFocused(resume), 'the focus is on what can be done next')
    t.match(await entry.innerText(), /Drain requested by anonymous [^:]+: kernel \u202e update/)
    t.equal(await entry.locator('bdi', { hasText: 'kernel' }).count(), 1, 'its direction changes nothing else')
    await page.getByText('1 running, 1 drained', { exact: true }).waitFor()
    await page.locator('.queues').getByText('0 of 7 running').waitFor()

    await resume.hover()
    await page.mouse.down()
    await fetch(`${proxy.address}/api/tasks/${waiting}/cancel`, { method: 'POST' })
    await moreReads(page)
    await page.mouse.up()
    await waitForState(entry, 'Running')
    await heading(page, 'Needs attention').waitFor({ state: 'hidden' })
    t.ok(await isFocused(drain))
    t.ok(await entry.evaluate((element) => 'isMarked' in element), 'the entry is still the same')
    await page.keyboard.press('Enter')
    await page.keyboard.press('Escape')
    t.ok(await isFocused(drain), 'the form can be left by the keyboard')

    await first.kill()
    await waitForState(entry, 'Lost')
    t.equal(await entry.getByRole('button', { name: /Drain|Resume/ }).count(), 0)
    t.ok(await isFocused(entry.getByRole('heading')), 'the focus is not lost with the button')

    await other.getByRole('button', { name: /^Drain/ }).click()
    answerTo(/GET .*\/workers/, (response) => response.destroy())
    await second.stop()
    await other.getByRole('button', { name: 'Drain now' }).click()
    await other.getByText('This worker has ended: it left the list.').waitFor()
    proxy.answer = () => false
    await other.waitFor({ state: 'detached' })
    t.ok(await isFocused(heading(page, 'Worker processes')), 'nor with its entry')
  },
)

const isFocused = (locator: Locator): Promise<boolean> =>
  locator.evaluate((element) => element === document.activeElement)

testPage('what is shown while the server cannot be read is called old', { expected }, async (t, page) => {
  await page.goto('/workers')
  await heading(page, 'Needs attention').waitFor()
  const notice = page.locator('.sheet > .notice')
  answerTo(/GET .*\/api\/workers/, (response) =>
    response
      .writeHead(404, { 'content-type': 'application/problem+json' })
      .end(
        '{"title": "There is nothing here", "code": "not_found", "detail": "There is nothing at GET /api/workers."}',
      ),
  )
  await notice.getByText(/^This server does not list its workers\. Update it to see them here\. Last update/).waitFor()
  t.ok(
    await page.locator('.attention').getByText('No worker sends heartbeats.').isVisible(),
    'what was read last stays',
  )
  await waitForLive(page)
  proxy.answer = () => false
  await notice.waitFor({ state: 'hidden' })

  const countReads = () => proxy.requests.filter((request) => request.endsWith('/api/workers')).length
  const show = (isShown: boolean) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })
      document.dispatchEvent(new Event('visibilitychange'))
    }, !isShown)
  await moreReads(page)
  await show(false)
  const readsWhenHidden = countReads()
  await sleep(2_500)
  t.equal(countReads(), readsWhenHidden, 'a hidden tab does not read')
  await Promise.all([moreReads(page), show(true)])

  await page.getByRole('link', { name: 'Types' }).click()
  await heading(page, 'Task types').waitFor()
  const before = countReads()
  await page.getByRole('link', { name: 'Workers' }).click()
  await moreReads(page, 2)
  t.ok(countReads() - before <= 3, 'only the open page reads')
})

testPage('many workers, in all states and with long names, fit everywhere', {}, async (t, page) => {
  const states: Worker['state'][] = ['running', 'draining', 'drained', 'stopping', 'lost']
  for (let index = 0; index < 200; index += 1) {
    const state = states[index % states.length] ?? 'running'
    await addWorker(`${'id-'.repeat(60)}${index}`, state, {
      host: `${'h'.repeat(index % 4 === 0 ? 250 : 5)}-${index}`,
      queues: Array.from({ length: index === 0 ? 50 : 1 }, (_, queue) => ({
        name: `${'q'.repeat(40)}-${queue}`,
        slots: 16,
        running: state === 'drained' ? 0 : 3,
      })),
    })
  }
  await page.goto('/workers')
  await page.locator('.worker').nth(199).waitFor()
  t.equal(await page.locator('.queues li').filter({ hasText: 'qqq' }).count(), 50)
  await page.getByText(/^40 running, 40 draining, 40 drained, 40 stopping, 4[01] lost$/).waitFor()
  t.same(
    [...new Set(await page.locator('.worker .status').allInnerTexts())].sort(),
    ['Drained', 'Draining', 'Lost', 'Running', 'Stopping'],
    'no state by its colour alone',
  )
  await checkWidths(t, page)
})

/** A worker as the server knows it, without a process. */
async function addWorker(id: string, state: Worker['state'], report: Pick<WorkerReport, 'host' | 'queues'>) {
  const flags = { isStopping: state === 'stopping', isDraining: state === 'drained' }
  const common = { id, pid: 4711, version: '0.1.0', types: ['demo.sleep'], ...flags }
  await recordHeartbeat(scene.db, { ...common, ...report }, state === 'lost' ? -1 : DAY_MS)
  if (state === 'draining' || state === 'drained')
    await drainWorker(scene.db, id, { by: 'anonymous', reason: '\u200b'.repeat(9) + 'r'.repeat(490) })
}

testPage('a new sentence that needs attention is announced once, and not with every poll', {}, async (t, page) => {
  const now = new Date().toISOString()
  const queue = { name: 'default', slots: 4, running: 0 }
  const calm: WorkerList = {
    items: [
      {
        ...{ id: 'a', state: 'running', host: 'a', pid: 1, version: '1.0.0', startedAt: now, seenAt: now },
        ...{ queues: [queue], types: ['demo.sleep'], running: 0, drain: null },
      },
    ],
    queues: [{ ...queue, workers: 1, free: 4, hasWaiting: false }],
    typesWithoutWorker: [],
    quarantinedTypes: [],
  }
  const answerWith = (changes: Partial<WorkerList>) =>
    answerTo(/GET .*\/api\/workers/, (response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ ...calm, ...changes })),
    )
  answerWith({})
  await page.goto('/workers')
  await heading(page, 'Worker processes').waitFor()
  const announcer = page.getByRole('status').and(page.locator('#announcer'))
  await announcer.evaluate((element) => {
    const heard: string[] = Object.assign(element, { heard: [] }).heard
    new MutationObserver(() => heard.push(element.textContent)).observe(element, { childList: true, subtree: true })
  })
  for (const [typesWithoutWorker, words] of [
    [['a.b'], 'Needs attention: No worker that takes tasks has a handler for the type a.b.'],
    [['a.b', 'c.d'], 'Needs attention: No worker that takes tasks has a handler for these types: a.b, c.d.'],
    [[], 'Nothing needs attention any more.'],
    [['a.b'], 'Needs attention: No worker that takes tasks has a handler for the type a.b.'],
  ] as const) {
    answerWith({ typesWithoutWorker: [...typesWithoutWorker] })
    await announcer.filter({ hasText: words }).waitFor({ state: 'attached' })
    await moreReads(page, 2)
    const heard = await announcer.evaluate((element) =>
      (element as typeof element & { heard: string[] }).heard.splice(0),
    )
    t.same(heard, [words])
  }
})
