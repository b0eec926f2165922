/** The page in a real Chromium over a half-open connection. It uses the default times, so it takes a minute. */
import t from 'tap'
import { startApp } from '../helpers/app.js'
import { launchBrowser, openPage } from '../helpers/browser.js'
import { startProxy } from '../helpers/proxy.js'
import { createTask } from '../helpers/watch.js'

const { address } = await startApp(t, ['worker', 'relay'])
const browser = await launchBrowser(t)

t.test('the page notices the silence within half a minute, shows the age of its data, and then the end', async (t) => {
  const proxy = await startProxy(t, [Number(new URL(address).port)])
  const { page, context } = await openPage(browser)
  t.teardown(() => context.close())
  const task = await createTask(address, { delayMs: 3_600_000, payload: { steps: 0 } })
  await page.addInitScript(() => {
    const texts: string[] = []
    Object.assign(globalThis, { texts })
    new MutationObserver(() => {
      const text = document.querySelector('.connection.inline')?.textContent ?? ''
      if (texts.at(-1) !== text) texts.push(text)
    }).observe(document, { subtree: true, childList: true, characterData: true })
  })
  await page.goto(`http://127.0.0.1:${proxy.port}/tasks/${task.id}`)
  await page.getByText(/^Starts in (59 min|1 h)/).waitFor()
  proxy.blackhole()
  const body = JSON.stringify({ runAt: new Date().toISOString() })
  await fetch(`${address}/api/tasks/${task.id}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body,
  })
  await page.getByText(/^Completed in/).waitFor({ timeout: 120_000 })
  const texts = await page.evaluate(() => (globalThis as unknown as { texts: string[] }).texts)
  t.match(texts.join('\n'), /Reconnecting.*Last update [34]\d s ago/, texts.join(' | '))
})
