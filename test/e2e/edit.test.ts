/** The page of a task in a real Chromium while the task is edited. */
import t from 'tap'
import type { Task } from '../../src/protocol/task.js'
import { startApp } from '../helpers/app.js'
import { launchBrowser, openPage } from '../helpers/browser.js'
import { createTask } from '../helpers/watch.js'

const { address } = await startApp(t, ['worker', 'relay'])
const browser = await launchBrowser(t)
const HOUR_MS = 3_600_000

async function edit({ id }: Task, change: object): Promise<void> {
  const answer = await fetch(`${address}/api/tasks/${id}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(change),
  })
  t.equal(answer.status, 200)
}

t.test('the page shows the new start, title and payload of a task that is edited, without a reload', async (t) => {
  const { page, context, complaints } = await openPage(browser, { baseURL: address })
  t.teardown(() => context.close())
  const task = await createTask(address, { title: 'before', delayMs: HOUR_MS, payload: { steps: 1, stepMs: 1 } })
  await page.goto(`/tasks/${task.id}`)
  await page.getByText(/^Starts in (59 min|1 h)/).waitFor()
  await page.evaluate(() => Object.assign(globalThis, { isSamePage: true }))
  await edit(task, {
    runAt: new Date(Date.now() + 5 * HOUR_MS).toISOString(),
    title: 'after',
    payload: { steps: 2, stepMs: 1 },
    tags: ['new'],
  })
  await page.getByText(/^Starts in (4 h 59 min|5 h)/).waitFor()
  await page.getByRole('heading', { name: 'after' }).waitFor()
  await page.getByText('edited: title, payload, tags, runAt').waitFor()
  t.match(JSON.parse(await page.getByRole('region', { name: 'Payload' }).innerText()), { steps: 2 })
  t.match(await page.title(), /^SCHEDULED · after/)
  t.match(await page.locator('.facts').innerText(), /Version\s+2[^]*Tags\s+new/)
  await edit(task, { runAt: new Date().toISOString() })
  await page.getByText(/^Completed in/).waitFor()
  t.equal(await page.evaluate(() => (globalThis as { isSamePage?: boolean }).isSamePage), true)
  t.same(complaints, [])
})
