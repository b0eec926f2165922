/**
 * Shows the page of the address. Links are plain links: an ordinary click on a link to a page of this program is
 * followed without a reload; every other click (another button, a modifier, a target) is left to the browser.
 *
 * Back and forward restore the scroll position: see `scroll-memory.js`. The filters of the list are in the query, which
 * is kept from page to page, because the list stays next to them.
 */
import { findPage, linkFromFragment, pathOf } from './addresses.js'
import { PAGES } from './pages.js'
import { openScrollMemory } from './scroll-memory.js'

export class Router {
  #show
  #scroll = openScrollMemory()
  #shownPath
  /** Counts the requests for pages: a page that finishes loading after a later request is not shown. */
  #turn = 0

  /**
   * @param show receives `{ module, parameters, path, isFirst, isReturn }`; `isReturn`: the reader has been there
   *   before, as after a reload
   */
  constructor(show) {
    this.#show = show
  }

  /** Shows the page of the address, and from then on each page navigated to. Rejects if its module cannot be loaded. */
  async start() {
    fixLinks()
    replaceOldAddress()
    this.#scroll.enter()
    document.addEventListener('click', (event) => this.#follow(event))
    window.addEventListener('popstate', () => this.#return())
    window.addEventListener('pagehide', () => this.#scroll.leave())
    await this.#open({ isReturn: true })
    // Preloads the modules, so that they are available even if the server is not.
    for (const { load } of PAGES) load().catch(() => {})
  }

  /** Follows a link made by `linkTo`. */
  navigate(link) {
    const url = new URL(link, location.href)
    if (pathOf(url) === this.#shownPath) return
    if (url.search === '') url.search = location.search
    this.#scroll.leave()
    history.pushState(null, '', url.href)
    this.#scroll.enter()
    this.#openOrReload({ isReturn: false })
  }

  #follow(event) {
    const link = findOwnLink(event)
    if (link === undefined) return
    event.preventDefault()
    this.navigate(link)
  }

  /** Back or forward, or a new fragment, which may be an old address. */
  #return() {
    this.#scroll.leave()
    const isOld = replaceOldAddress()
    this.#scroll.enter()
    this.#openOrReload({ isReturn: !isOld })
  }

  /** If a module cannot be loaded, the server is away or was upgraded meanwhile: the browser reloads everything. */
  #openOrReload(way) {
    this.#open(way).catch(() => location.reload())
  }

  async #open({ isReturn }) {
    const path = pathOf(location) ?? '/'
    if (path === this.#shownPath) return
    const turn = ++this.#turn
    const { page, parameters } = findPage(PAGES, path) ?? { page: PAGES[0], parameters: {} }
    const module = await page.load()
    if (turn !== this.#turn) return
    const isFirst = this.#shownPath === undefined
    this.#shownPath = path
    this.#show({ module, parameters, path, isFirst, isReturn })
    if (isReturn) this.#scroll.restore()
    else if (module.name !== 'home') this.#scroll.toTop() // the list scrolls to the row that was open
  }
}

/** The document's own links are relative to its original address, which is about to change. */
function fixLinks() {
  for (const link of document.querySelectorAll('link[rel=icon], a[href]:not([href^="#"])'))
    link.setAttribute('href', link.href)
}

/** For an ordinary click on a link to a page of this program: its target. */
function findOwnLink(event) {
  const link = event.target.closest?.('a[href]')
  if (
    !link ||
    event.defaultPrevented ||
    event.button !== 0 ||
    event.metaKey ||
    event.ctrlKey ||
    event.shiftKey ||
    event.altKey
  )
    return undefined
  if (link.target !== '' || link.hasAttribute('download') || link.origin !== location.origin || link.hash !== '')
    return undefined
  const path = pathOf(link)
  return path === undefined || findPage(PAGES, path) === undefined ? undefined : link.href
}

/** Whether the address was an old one. */
function replaceOldAddress() {
  const link = linkFromFragment(location.hash)
  if (link === undefined) return false
  history.replaceState(history.state, '', link + location.search)
  return true
}
