/** The page in a real Chromium, against all roles as `taskwire start` runs them. */
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import t from 'tap'
import type { CreateTask } from '../../src/protocol/http.js'
import { launchBrowser } from '../helpers/browser.js'
import {
  checkHistory,
  createTask as createTaskAt,
  definePageTests,
  detailOf as detail,
  overflowOf,
  waitForStatus,
} from '../helpers/page.js'
import { findFamily, spawnTaskwire } from '../helpers/processes.js'

const READY = /Taskwire is ready: (http:\/\/\S+)/

const folder = await mkdtemp(join(tmpdir(), 'taskwire-page-'))
await chmod(folder, 0o755) // PostgreSQL may run as another user
t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))
const taskwire = spawnTaskwire(t, ['start'], { cwd: folder, env: { PORT: '0' } })
const browser = await launchBrowser(t)
const [, address = ''] = await taskwire.waitFor(READY)

const testPage = definePageTests(t, browser, address)
const createTask = (body: CreateTask) => createTaskAt(address, body)

/**
 * Records the texts of the detail view from now on, without repetitions, including texts that pass too fast to poll
 * from outside.
 */
async function recordDetail(page: Page): Promise<() => Promise<Recording>> {
  await page.addInitScript((selectors) => {
    const seen: Recording = { statuses: [], standings: [], percents: [] }
    Object.assign(globalThis, { seen })
    new MutationObserver(() => {
      for (const [name, selector] of selectors) {
        const element = document.querySelector(selector)
        const value = element?.getAttribute('aria-valuenow') ?? element?.textContent
        if (typeof value === 'string' && seen[name].at(-1) !== value) seen[name].push(value)
      }
    }).observe(document, { subtree: true, childList: true, characterData: true, attributes: true })
  }, SELECTORS)
  return () => page.evaluate(() => (globalThis as unknown as { seen: Recording }).seen)
}

type Recording = Record<'statuses' | 'standings' | 'percents', string[]>

const SELECTORS: [keyof Recording, string][] = [
  ['statuses', '.glance .status'],
  ['standings', '.standing'],
  ['percents', 'article [aria-valuenow]'],
]

testPage('a task created with the form is followed live to its end', {}, async (t, page) => {
  const readRecording = await recordDetail(page)
  await page.goto('/')
  const title = '<img src=x onerror="document.body.remove()">'
  await page.getByLabel('Steps').fill('5')
  await page.getByLabel('Step length').fill('300')
  await page.getByLabel('Title').fill(title)
  await page.evaluate(() => Object.assign(globalThis, { isSamePage: true }))
  await page.getByRole('button', { name: 'Create task' }).click()

  await detail(page).getByRole('heading', { name: title }).waitFor()
  t.match(page.url(), /\/tasks\/[0-9a-f-]{36}$/)
  await waitForStatus(page, 'COMPLETED')
  const { statuses, percents } = await readRecording()
  t.same(statuses.slice(-2), ['PROCESSING', 'COMPLETED'])
  const steps = percents.map(Number).filter((percent) => percent > 0)
  t.ok(
    steps.length > 1 && steps.every((percent, index) => index === 0 || percent > Number(steps[index - 1])),
    `progress grows: ${steps.join()}`,
  )

  await detail(page).getByText('Finished: no more updates').waitFor()
  t.equal(await page.locator('#connection').innerText(), 'Live', 'the page as a whole stays current')
  await checkHistory(t, page, ['PENDING', 'PROCESSING', 'COMPLETED'])
  t.equal(await detail(page).getByRole('progressbar').getAttribute('aria-valuenow'), '100')
  t.match(JSON.parse(await detail(page).getByRole('region', { name: 'Result' }).innerText()), { steps: 5 })
  const row = page.locator('#list').getByRole('link', { name: title })
  await row.getByText(/^took 1\.\d s$/).waitFor()
  t.match(await row.innerText(), 'COMPLETED')
  t.equal(await row.getAttribute('aria-current'), 'page')
  t.equal(await page.title(), `COMPLETED · ${title} · Taskwire`)
  t.equal(await page.locator('#announcer').innerText(), `${title}: COMPLETED`)
  t.equal(await page.locator('img').count(), 0, 'a title is shown as text')
  t.ok(await page.evaluate(() => 'isSamePage' in globalThis), 'without a reload')
})

testPage('a failing task appears in the list, and its page says why it failed', {}, async (t, page) => {
  await page.goto('/')
  await page.getByRole('heading', { name: 'Create a task' }).waitFor()
  const task = await createTask({ title: 'will fail', payload: { steps: 3, stepMs: 50, failAt: 2 } })
  const row = page.locator('#list').getByRole('link', { name: 'will fail' })
  await row.getByText('FAILED').waitFor()
  await row.click()
  await detail(page).getByText('failed at step 2, as asked').first().waitFor()
  t.match(page.url(), task.links.page)
  await checkHistory(t, page, ['PENDING', 'PROCESSING', 'FAILED'])
  await page.goBack()
  await page.getByRole('heading', { name: 'Create a task' }).waitFor()
})

testPage('a task with a run time counts down, then runs', {}, async (t, page) => {
  const readRecording = await recordDetail(page)
  await page.goto('/new')
  await page.getByLabel('Steps').fill('0')
  await page.getByLabel('Run in (seconds)').fill('1.5')
  await page.getByRole('button', { name: 'Create task' }).click()
  await waitForStatus(page, 'COMPLETED')
  const { standings } = await readRecording()
  t.match(standings[0], /^Starts in [12] s$/)
  t.match(standings.at(-1), /^Completed in \d+ ms$/)
  await checkHistory(t, page, ['SCHEDULED', 'PENDING', 'PROCESSING', 'COMPLETED'])
})

testPage('the address of a missing task says so', { expected: /404|400/ }, async (t, page) => {
  await page.goto('/tasks/019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10')
  await detail(page).getByRole('heading', { name: 'There is no such task' }).waitFor()
  await page.goto('/tasks/nonsense')
  await detail(page).getByRole('heading', { name: 'The id is malformed' }).waitFor()
})

testPage('the snippets work', { permissions: ['clipboard-read', 'clipboard-write'] }, async (_, page) => {
  const task = await createTask({ title: 'to paste', payload: { steps: 4, stepMs: 250 } })
  await page.goto(task.links.page)
  for (const [name, last] of [
    ['Watch it', 'COMPLETED'],
    ['Watch it across restarts and reconnects', '3 COMPLETED'],
  ] as const) {
    const button = page.getByRole('button', { name: `Copy: ${name}`, exact: true })
    await button.click()
    await button.and(page.getByText('Copied')).waitFor()
    const code = await page.evaluate(() => navigator.clipboard.readText())
    const isLogged = page.waitForEvent('console', (message) => message.text() === last)
    await page.evaluate(`(async () => { ${code} })()`)
    await isLogged
  }
})

testPage('copying works without a clipboard, as on plain HTTP', {}, async (t, page) => {
  const task = await createTask({ title: 'to copy', payload: { steps: 0 } })
  await page.goto(task.links.page)
  await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined }))
  await page.getByRole('button', { name: 'Copy the id' }).click()
  await page.getByText('Copied').waitFor()
  await page.getByRole('link', { name: 'New task' }).click()
  await page.getByLabel('Title').focus()
  await page.keyboard.press('Control+V')
  t.equal(await page.getByLabel('Title').inputValue(), task.id)
})

testPage('the list is filtered by the address, loads more, and holds still under the pointer', {}, async (t, page) => {
  await Promise.all(
    Array.from({ length: 60 }, (_, index) => createTask({ title: `many ${index}`, payload: { steps: 0 } })),
  )
  await page.goto('/')
  const rows = page.locator('#list .rows > li:not(.skeleton)')
  await rows.nth(49).waitFor()
  t.equal(await rows.count(), 50)
  await page.getByRole('button', { name: 'Load more' }).click()
  await rows.nth(60).waitFor()

  await rows.first().hover()
  await createTask({ title: 'one more', payload: { steps: 0 } })
  await page.getByRole('button', { name: '1 new task' }).waitFor()
  t.not(await rows.first().locator('.row-title').innerText(), 'one more')
  await page.getByRole('heading', { name: 'Create a task' }).hover()
  await rows.first().getByText('one more').waitFor()

  await page.getByLabel('Filter by status').selectOption('FAILED')
  await rows.getByText('will fail').waitFor()
  t.equal(await rows.count(), 1)
  t.match(page.url(), '/?status=FAILED')
  await page.reload()
  await rows.getByText('will fail').waitFor()
  t.equal(await rows.count(), 1)
  await page.getByLabel('Filter by type').selectOption('report.generate')
  await page.getByText('No tasks match.').waitFor()
  await page.getByRole('button', { name: 'Show all tasks' }).click()
  await rows.nth(49).waitFor()
})

testPage(
  'it fits a phone of 360 pixels and works by keyboard',
  { viewport: { width: 360, height: 740 }, hasTouch: true },
  async (t, page) => {
    await page.goto('/')
    await page.locator('.row').first().waitFor()
    t.equal(await overflowOf(page), 0)
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    t.equal(await page.evaluate(() => document.activeElement?.id), 'list', 'the first key press skips to the content')

    await page.getByRole('link', { name: 'New task' }).press('Enter')
    await page.getByLabel('Type', { exact: true }).and(page.locator(':focus')).waitFor()
    t.equal(await overflowOf(page), 0)
    await page.getByLabel('Steps').fill('0')
    await page.keyboard.press('Enter')
    await waitForStatus(page, 'COMPLETED')
    t.equal(await overflowOf(page), 0)

    await page.getByRole('link', { name: 'All tasks' }).press('Enter')
    const focused = page.locator(':focus')
    await page.locator('.row').first().and(focused).waitFor() // the row of the task that was left
    await page.keyboard.press('ArrowDown')
    await page.locator('.row').nth(1).and(focused).waitFor()
  },
)

testPage(
  'the page reports a lost web process, and the task resumes',
  { expected: /net::ERR_|WebSocket connection/ },
  async (t, page) => {
    const task = await createTask({ title: 'through a crash', payload: { steps: 1_000, stepMs: 250 } })
    await page.goto(task.links.page)
    await waitForStatus(page, 'PROCESSING')
    await page.locator('.inline[data-state=live]').waitFor()
    // The message may disappear before a poll from outside sees it, so the page itself records its texts.
    await page.evaluate(`{
    const said = (globalThis.said = { bar: new Set(), task: new Set() })
    const note = () => {
      said.bar.add(document.querySelector('#connection')?.textContent ?? '')
      for (const part of document.querySelectorAll('article .inline')) said.task.add(part.textContent ?? '')
    }
    new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true })
  }`)
    process.kill(await findWebProcess(), 'SIGKILL')
    const isNamed =
      '[said.bar, said.task].every((texts) => [...texts].some((text) => /^\\s*(Reconnecting|Server unreachable, retrying)/.test(text)))'
    while (!(await page.evaluate<boolean>(isNamed))) await page.waitForTimeout(100)
    await page.locator('#connection').getByText('Live', { exact: true }).waitFor()
    await page.locator('.inline[data-state=live]').waitFor()
    await page.getByRole('button', { name: 'Cancel' }).waitFor()
    await fetch(`${address}/api/tasks/${task.id}/cancel`, { method: 'POST' })
    await waitForStatus(page, 'CANCELLED')
    await checkHistory(t, page, ['PENDING', 'PROCESSING', 'CANCELLING', 'CANCELLED'])
  },
)

async function findWebProcess(): Promise<number> {
  for (const pid of await findFamily(taskwire.pid)) {
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '') // PostgreSQL's processes come and go
    if (commandLine.includes('main.js\0web\0')) return pid
  }
  throw new Error('the web process is missing')
}

testPage('a task is cancelled from its page, after confirmation', {}, async (t, page) => {
  const task = await createTask({ title: 'no longer wanted', payload: { steps: 1_000, stepMs: 100 } })
  await page.goto(`/tasks/${task.id}`)
  await detail(page).getByRole('button', { name: 'Cancel' }).click()
  await detail(page).getByRole('button', { name: 'Really cancel?' }).click()
  await checkHistory(t, page, ['PENDING', 'PROCESSING', 'CANCELLING', 'CANCELLED'])
  t.notOk(await detail(page).getByRole('button', { name: 'Cancel' }).isVisible(), 'there is nothing left to cancel')
})

testPage(
  'the files of a task are offered when it has ended, and an HTML file opens in another tab',
  {},
  async (t, page) => {
    const task = await createTask({ type: 'report.generate' })
    await page.goto(`/tasks/${task.id}`)
    const link = detail(page).getByRole('link', { name: 'report.html' })
    await link.waitFor()
    const [report] = await Promise.all([page.waitForEvent('popup'), link.click()])
    await report.locator('svg[aria-label="tasks by status"]').waitFor()
  },
)

testPage('each task type has a page with a form, and its tasks link to it', {}, async (t, page) => {
  await page.goto('/')
  await page.getByRole('link', { name: 'Types' }).click()
  const types = page.getByRole('article', { name: 'Task types' })
  await types.getByRole('link', { name: 'Export tasks' }).click()
  await types.getByRole('heading', { name: 'Export tasks' }).waitFor()
  t.equal(await page.title(), 'tasks.export · Taskwire')
  await types.getByRole('row', { name: /createdBefore/ }).waitFor()
  await types.getByRole('row', { name: /rows integer Rows written so far/ }).waitFor()
  t.match(await types.innerText(), /curl http.*"type":"tasks\.export"/s)

  await types.getByRole('link', { name: 'Create one' }).click()
  await page.waitForFunction(
    () => (document.querySelector('main select') as HTMLSelectElement | null)?.value === 'tasks.export',
  )
  await page.getByRole('button', { name: 'Create task' }).click()
  await waitForStatus(page, 'COMPLETED')
  t.match(await detail(page).locator('.progress-data').innerText(), /^rows \d+$/)
  await detail(page).getByRole('link', { name: 'tasks.export' }).click()
  await types.getByRole('heading', { name: 'Export tasks' }).waitFor()

  await page.goto('/types/no.such')
  await types.getByRole('heading', { name: 'There is no such type' }).waitFor()
})

testPage('the API page opens, and its first example creates a task', {}, async (t, page) => {
  await page.goto('/docs')
  await page.getByRole('button', { name: 'post /api/tasks', exact: true }).click()
  await page.getByRole('button', { name: 'Try it out' }).click()
  const answer = page.waitForResponse((response) => response.request().method() === 'POST')
  await page.getByRole('button', { name: 'Execute' }).click()
  t.match(await (await answer).json(), { title: 'example task', status: 'PENDING' })
})
