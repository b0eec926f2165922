/** Tests of the page: each has its own page, which must end without errors. */
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from 'playwright-core'
import type { Test } from 'tap'
import type { CreateTask } from '../../src/protocol/http.js'
import type { Status } from '../../src/protocol/status.js'
import type { Task } from '../../src/protocol/task.js'
import { openContext, openPageIn } from './browser.js'

/** With any option besides `viewport`, the test has a browser context of its own. */
interface PageTestOptions extends BrowserContextOptions {
  /** Messages that the browser itself logs about a refusal that the test provokes. */
  expected?: RegExp
}

/**
 * The tests of a file share a browser context: a new one opens a window and loads the modules of the page again, which
 * takes longer than most of these tests. What the page stores belongs to its tab, which ends with the test.
 *
 * The test fails on a console message, an uncaught error or a violation of the content security policy, unless
 * `expected` matches it.
 */
export type TestPage = (name: string, options: PageTestOptions, run: (t: Test, page: Page) => Promise<void>) => void

export function definePageTests(t: Test, browser: Browser, address: string): TestPage {
  let shared: Promise<BrowserContext> | undefined
  const open = (options: BrowserContextOptions) => openContext(browser, { baseURL: address, ...options })
  return (name, { expected, viewport, ...options }, run) => {
    t.test(name, async (t) => {
      const isOwn = Object.keys(options).length > 0
      const context = await (isOwn ? open(options) : (shared ??= open({})))
      t.teardown(() => (isOwn ? context.close() : Promise.all(context.pages().map((page) => page.close()))))
      const { page, complaints } = await openPageIn(context)
      if (viewport) await page.setViewportSize(viewport)
      await run(t, page)
      t.same(
        complaints.filter((text) => !expected?.test(text)),
        [],
        'the page has no errors or warnings',
      )
    })
  }
}

export async function createTask(address: string, body: CreateTask): Promise<Task> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${address}/api/tasks`, { method: 'POST', headers, body: JSON.stringify(body) })
  if (answer.status !== 202) throw new Error(`the task is refused: ${await answer.text()}`)
  return (await answer.json()) as Task
}

export const detailOf = (page: Page): Locator => page.getByRole('article', { name: 'Task' })

export const waitForStatus = (page: Page, status: Status): Promise<void> =>
  page.locator('.glance').getByText(status, { exact: true }).waitFor()

export const waitForLive = (page: Page): Promise<void> =>
  page.locator('#connection').getByText('Live', { exact: true }).waitFor()

/** Checks the history on the page, once it is as long as `expected`. */
export async function checkHistory(t: Test, page: Page, expected: Status[]): Promise<void> {
  await page
    .locator('.timeline li')
    .nth(expected.length - 1)
    .waitFor()
  t.same(await page.locator('.timeline .status').allInnerTexts(), expected)
}

/** By how many pixels the document is wider than its window. */
export const overflowOf = (page: Page): Promise<number> =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)

/** Checks that nothing is wider than its place, at several widths and with large text. */
export async function checkWidths(t: Pick<Test, 'equal' | 'same'>, page: Page): Promise<void> {
  for (const [width, fontSize] of [
    [320, '100%'],
    [768, '100%'],
    [1280, '100%'],
    [640, '200%'],
  ] as const) {
    await page.setViewportSize({ width, height: 700 })
    await page.evaluate((size) => (document.documentElement.style.fontSize = size), fontSize)
    t.equal(await overflowOf(page), 0, `${width} pixels, text ${fontSize}`)
    const cut = await page.evaluate(() =>
      [...document.querySelectorAll('article *')]
        .filter(
          (element) =>
            element.scrollWidth > element.clientWidth + 1 &&
            getComputedStyle(element).display !== 'inline' &&
            !element.matches('input, select'),
        )
        .map((element) => `${element.className}: ${element.textContent}`.slice(0, 80)),
    )
    t.same(cut, [], `nothing leaves its place at ${width} pixels, text ${fontSize}`)
  }
}
