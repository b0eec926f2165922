/**
 * The requests of a browser that shows the page: all files at once the first time, the document alone the second time.
 */
import t from 'tap'
import { startApp, startWebBeside } from '../helpers/app.js'
import { launchBrowser, openPage } from '../helpers/browser.js'
import { startHttpProxy } from '../helpers/http-proxy.js'
import { waitForLive } from '../helpers/page.js'

const app = await startApp(t)
const browser = await launchBrowser(t)

for (const base of ['', '/taskwire']) {
  t.test(`below ${base}/`, async (t) => {
    const proxy = await startHttpProxy(t, base === '' ? app.address : await startWebBeside(t, app, { BASE_PATH: base }))
    const { page, context, complaints } = await openPage(browser)
    t.teardown(() => context.close())
    const visit = async (path: string) => {
      const before = proxy.requests.length
      await page.goto('about:blank')
      await page.goto(proxy.address + base + path)
      await waitForLive(page)
      return proxy.requests.slice(before).filter((request) => !/ (\/taskwire)?\/(api|ws|healthz)/.test(request))
    }
    const first = await visit('/')
    t.equal(first.filter((request) => request.includes('.css')).length, 1, 'one style sheet')
    t.equal(new Set(first).size, first.length, 'nothing twice')
    t.same(
      first.slice(1).filter((request) => !request.startsWith(`GET ${base}/assets/`)),
      [],
      'every loaded file may be cached',
    )
    t.same(await visit('/'), [`GET ${base}/`])
    t.same(await visit('/types'), [`GET ${base}/types`], 'another page loads no other files')
    t.same(complaints, [])
  })
}
