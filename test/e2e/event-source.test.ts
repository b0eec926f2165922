/** A browser's own EventSource across a restart of the server: the effect of `retry`, and of a 502 from a proxy. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Page } from 'playwright-core'
import t from 'tap'
import { startApp, startWebBeside } from '../helpers/app.js'
import { launchBrowser, openPage } from '../helpers/browser.js'
import { startProxy } from '../helpers/proxy.js'
import { readEvents } from '../helpers/sse.js'
import { createTask } from '../helpers/watch.js'

const HOUR_MS = 3_600_000

const app = await startApp(t, ['worker', 'relay'])
const browser = await launchBrowser(t)

interface Followed {
  source: EventSource
  versions: number[]
}

/** Follows a task from a page that makes no requests of its own. */
async function follow(page: Page, origin: string, id: string): Promise<void> {
  await page.goto(`${origin}/healthz`)
  await page.evaluate((path) => {
    const source = new EventSource(path)
    const followed: Followed = { source, versions: [] }
    for (const type of ['snapshot', 'transition'])
      source.addEventListener(type, ({ data }) =>
        followed.versions.push((JSON.parse(data as string) as { version: number }).version),
      )
    Object.assign(globalThis, { followed })
  }, `/api/tasks/${id}/events`)
  await page.waitForFunction(() => (globalThis as unknown as { followed: Followed }).followed.versions.length > 0)
}

const readVersions = (page: Page) =>
  page.evaluate(() => (globalThis as unknown as { followed: Followed }).followed.versions)
const readState = (page: Page) =>
  page.evaluate(() => (globalThis as unknown as { followed: Followed }).followed.source.readyState)

async function edit(address: string, id: string, change: object): Promise<void> {
  await fetch(`${address}/api/tasks/${id}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(change),
  })
}

t.test('an EventSource tries a server that is away once a second at most, and misses nothing', async (t) => {
  const address = await startWebBeside(t, app, {})
  const proxy = await startProxy(t, [Number(new URL(address).port)])
  const { page, context } = await openPage(browser)
  t.teardown(() => context.close())
  const { id } = await createTask(address, { delayMs: HOUR_MS })
  await follow(page, `http://127.0.0.1:${proxy.port}`, id)

  proxy.targets = []
  const { count } = proxy
  const awayAtMs = performance.now()
  proxy.cut()
  await edit(app.address, id, { title: 'edited meanwhile' })
  while (proxy.count < count + 3) await sleep(20)
  const awayMs = performance.now() - awayAtMs
  t.ok(awayMs > 2_000, `three tries in ${Math.round(awayMs)} ms`)
  t.equal(await readState(page), 0, 'it keeps trying')

  proxy.targets = [Number(new URL(app.address).port)]
  await edit(app.address, id, { title: 'edited again' })
  await page.waitForFunction(() => (globalThis as unknown as { followed: Followed }).followed.versions.includes(3))
  t.same(await readVersions(page), [1, 2, 3])
})

t.test('an EventSource gives up at a 502, as docs/live-protocol.md says', async (t) => {
  const { id } = await createTask(app.address, { delayMs: HOUR_MS })
  let isBroken = false
  const server = createServer((request, response) => {
    if (isBroken) return response.writeHead(502).end()
    if (!request.url?.includes('/events')) return response.end('{}')
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end('retry: 1000\n\nevent: snapshot\ndata: {"version":1}\n\n')
    isBroken = true
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { page, context } = await openPage(browser)
  t.teardown(() => context.close())
  await follow(page, `http://127.0.0.1:${(server.address() as AddressInfo).port}`, id)
  await page.waitForFunction(() => (globalThis as unknown as { followed: Followed }).followed.source.readyState === 2)
  t.same(await readVersions(page), [1])
})

t.test(
  'the reconnect delay is sent at the start and the end of a stream, at least a second and different for each client',
  async (t) => {
    const { id } = await createTask(app.address, { delayMs: HOUR_MS })
    const paths = Array.from({ length: 6 }, () => [
      `${id}/events`,
      `events?ids=${id}`,
      'events?tag=nobody-has-this',
    ]).flat()
    const streams = await Promise.all(
      paths.map(async (path) =>
        readEvents(await fetch(`${app.address}/api/tasks/${path}`, { headers: { accept: 'text/event-stream' } })),
      ),
    )
    const openings = await Promise.all(
      streams.map(async (events) => Number(((await events.next()).value as { retry?: string }).retry)),
    )
    await app.stopWeb()
    const endings = await Promise.all(
      streams.map(async (events) => {
        let retry
        for await (const event of events) retry = event.retry
        return Number(retry)
      }),
    )
    for (const pauses of [openings, endings]) {
      t.ok(
        pauses.every((pause) => pause >= 1_000 && pause <= 3_000),
        pauses.join(' '),
      )
      t.ok(new Set(pauses).size > 3)
    }
  },
)
