/**
 * A real Chromium for tests of the page: `/usr/bin/chromium`, or the one named by CHROMIUM_PATH. Closed with the test.
 */
import { access, constants } from 'node:fs/promises'
import { chromium, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from 'playwright-core'
import type { TestScope } from './services.js'

const DEFAULT_PATH = '/usr/bin/chromium'
/** How long an action or a wait may take before the test fails. Allows for a page on a slow, busy machine. */
const ACTION_MS = 240_000

/**
 * Every context opens a window, and every window of a newer Chromium loads the pop-up of the address bar in its own
 * process, which takes longer than one of our pages; Chromium also keeps a spare process. The other features are those
 * that Playwright disables: they are repeated because Chromium reads only the last of two lists.
 */
const UNUSED_FEATURES = [
  ...[
    'WebUIOmniboxPopup',
    'WebUIOmniboxFullPopup',
    'WebUIOmniboxAimPopup',
    'PreloadTopChromeWebUI',
    'SpareRendererForSitePerProcess',
  ],
  ...[
    'AvoidUnnecessaryBeforeUnloadCheckSync',
    'DestroyProfileOnBrowserClose',
    'HttpsUpgrades',
    'HttpsFirstBalancedModeAutoEnable',
    'LensOverlay',
    'MediaRouter',
  ],
  ...[
    'PaintHolding',
    'ThirdPartyStoragePartitioning',
    'AvoidCorsURLLoaderRestartOnRedirect',
    'OptimizationHints',
    'NetworkTimeServiceQuerying',
    'AimEnabled',
    'PreconnectToSearch',
  ],
]

/** A page, and every error that occurred in it. */
export interface TestPage {
  page: Page
  context: BrowserContext
  /** Console errors and warnings, uncaught errors, and violations of the content security policy. */
  complaints: string[]
}

/** Starts Chromium. Rejects with an error that names the package to install if there is none. */
export async function launchBrowser(t: TestScope, flags: readonly string[] = []): Promise<Browser> {
  const executablePath = process.env['CHROMIUM_PATH'] ?? DEFAULT_PATH
  await access(executablePath, constants.X_OK).catch(() => {
    throw new Error(`There is no Chromium at ${executablePath}: install the package "chromium", or set CHROMIUM_PATH.`)
  })
  const isRoot = process.getuid?.() === 0
  // Chromium's sandbox refuses to run as root, and a container's /dev/shm may be too small for a page.
  const args = [
    '--disable-dev-shm-usage',
    '--disable-background-networking',
    `--disable-features=${UNUSED_FEATURES.join()}`,
    ...(isRoot ? ['--no-sandbox'] : []),
    ...flags,
  ]
  const browser = await chromium.launch({ executablePath, args })
  t.teardown(() => browser.close())
  return browser
}

/**
 * Animations are off: without a graphics card, drawing them takes a third of a processor for each page.
 */
export async function openContext(browser: Browser, options: BrowserContextOptions = {}): Promise<BrowserContext> {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options })
  context.setDefaultTimeout(ACTION_MS)
  return context
}

/** Opens an empty page in a browser context of its own: nothing is stored or cached yet. */
export async function openPage(browser: Browser, options: BrowserContextOptions = {}): Promise<TestPage> {
  return openPageIn(await openContext(browser, options))
}

/** Opens an empty page and records its complaints from the start. */
export async function openPageIn(context: BrowserContext): Promise<TestPage> {
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`))
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`)
  })
  await page.exposeFunction('reportViolation', (text: string) => complaints.push(`policy: ${text}`))
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      const { reportViolation } = globalThis as unknown as { reportViolation(text: string): void }
      reportViolation(`${event.effectiveDirective} ${event.blockedURI}`)
    })
  })
  return { page, context, complaints }
}
