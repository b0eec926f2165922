/**
 * Which page is shown. Links are plain links: a press on one that leads to a page of this program is followed without a reload, every
 * other press (another button, a modifier, a target) is the browser's.
 *
 * Back and forward find the scroll position as it was left: see `scroll-memory.js`. The filters of the list are in the query, which
 * goes along from page to page, because the list stays beside them.
 */
import { findPage, linkFromFragment, pathOf } from './addresses.js'
import { PAGES } from './pages.js'
import { openScrollMemory } from './scroll-memory.js'

export class Router {
  #show
  #scroll = openScrollMemory()
  #shownPath
  /** Counts what was asked for: a page that is there only after another was asked for is not shown. */
  #turn = 0

  /** @param show gets `{ module, parameters, path, isFirst, isReturn }`; `isReturn`: the reader was there before, as after a reload */
  constructor(show) {
    this.#show = show
  }

  /** Shows the page of the address, and from now on each that is navigated to. Rejects when its module cannot be loaded. */
  async start() {
    fixLinks()
    replaceOldAddress()
    this.#scroll.enter()
    document.addEventListener('click', (event) => this.#follow(event))
    window.addEventListener('popstate', () => this.#return())
    window.addEventListener('pagehide', () => this.#scroll.leave())
    await this.#open({ isReturn: true })
    // They are there before they are asked for, also when the server is not.
    for (const { load } of PAGES) load().catch(() => {})
  }

  /** Goes to a link, as `linkTo` makes them. */
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

  /** Back or forward; or another fragment, which may be an old address. */
  #return() {
    this.#scroll.leave()
    const isOld = replaceOldAddress()
    this.#scroll.enter()
    this.#openOrReload({ isReturn: !isOld })
  }

  /** Where a module cannot be loaded, the server is away or another version by now: the browser asks it for all. */
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
    else if (module.name !== 'home') this.#scroll.toTop() // the list shows the row that was left
  }
}

/** The document's own links are relative to the address that it came from, which is another one soon. */
function fixLinks() {
  for (const link of document.querySelectorAll('link[rel=icon], a[href]:not([href^="#"])')) link.setAttribute('href', link.href)
}

/** Of a plain press on a link to a page of this program: where it leads. */
function findOwnLink(event) {
  const link = event.target.closest?.('a[href]')
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return undefined
  if (link.target !== '' || link.hasAttribute('download') || link.origin !== location.origin || link.hash !== '') return undefined
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
