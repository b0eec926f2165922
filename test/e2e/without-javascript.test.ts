/**
 * Every page of the server in a browser without JavaScript: it states its purpose, has links, and shows no empty parts.
 */
import t from 'tap'
import { PAGES } from '../../public/pages.js'
import { startApp, startWebBeside } from '../helpers/app.js'
import { launchBrowser } from '../helpers/browser.js'

const app = await startApp(t)
const browser = await launchBrowser(t)
const ADDRESSES = [
  '/docs',
  '/docs/',
  '/docs/problems',
  '/playground.html',
  ...PAGES.map(({ path }) => path.replace(/:\w+/, 'x')),
]

for (const base of ['', '/taskwire']) {
  t.test(`${base}/`, async (t) => {
    const address = base === '' ? app.address : await startWebBeside(t, app, { BASE_PATH: base })
    const context = await browser.newContext({ javaScriptEnabled: false })
    t.teardown(() => context.close())
    const page = await context.newPage()
    const links = new Set<string>()
    for (const path of ADDRESSES) {
      await page.goto(address + base + path)
      t.ok(await page.getByRole('heading', { level: 1 }).first().isVisible(), `${path} states its purpose`)
      t.match(await page.title(), /Taskwire|Types|protocol/, path)
      t.ok((await page.locator('body').innerText()).length > 200, `${path} is not blank`)
      const parts = await page.locator(':is(table, ol, ul):visible').allInnerTexts()
      for (const text of parts) t.not(text.trim(), '', `${path}: no empty part is shown`)
      const targets = await page
        .locator('a[href]:visible')
        .evaluateAll((elements) => elements.map((element) => (element as unknown as { href: string }).href))
      for (const target of targets) links.add(target)
    }
    for (const name of ['/openapi.json', '/asyncapi.json', '/docs/problems'])
      t.ok(links.has(address + base + name), `${name} is linked`)
    for (const link of new Set([...links].map((link) => link.replace(/#.*/, ''))))
      t.equal((await fetch(link)).status, 200, link)
  })
}

t.test('/docs lists each call', async (t) => {
  const document = (await (await fetch(`${app.address}/openapi.json`)).json()) as {
    paths: Record<string, Record<string, { summary: string }>>
  }
  for (const path of ['/docs', '/docs/']) {
    const html = await (await fetch(app.address + path)).text()
    for (const [name, operations] of Object.entries(document.paths)) {
      for (const method of Object.keys(operations)) t.match(html, `<code>${method.toUpperCase()} ${name}</code>`)
    }
  }
})
