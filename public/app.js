/**
 * The frame of the page: the header, the list of tasks, which always stays, and next to it the page named by the
 * address (`pages.js`).
 *
 * The frame gives each page: `main`, the element it is put into; `navigate(path)`; `setTitle(...parts)`;
 * `announce(words)`, for screen readers.
 */
import { linkTo, pathOf } from './addresses.js'
import { startConnectionState } from './parts/connection-state.js'
import { setAttribute, setText } from './parts/dom.js'
import { startTaskList } from './parts/task-list.js'
import { Router } from './router.js'
import { frame as text } from './text/en.js'

const element = (id) => document.getElementById(id)
const main = element('main')
const list = startTaskList(element('list'))
let shown
let shownId

const announce = (words) => setText(element('announcer'), words)
const setTitle = (...parts) => (document.title = text.title(...parts))
const frame = { main, announce, setTitle, navigate: (path) => router.navigate(linkTo(path)) }

element('skip').addEventListener('click', (event) => {
  event.preventDefault() // the list or the page, whichever is visible
  element(isHome() ? 'list' : 'main').focus()
})
startConnectionState(element('connection'), announce)
const router = new Router(show)
await router.start()
element('fallback').remove()

function show({ module, parameters, path, isFirst, isReturn }) {
  shown?.close?.()
  announce('')
  document.body.dataset.page = module.name
  markLinks(path)
  const leftId = shownId
  shownId = parameters.id
  list.select(shownId)
  setTitle()
  shown = module.open(frame, parameters)
  main.replaceChildren(shown.element)
  if (!isFirst) moveFocus({ leftId, isReturn })
}

/**
 * After a choice, reading and the tab key start at the top of the chosen page; in the list, where the reader left it.
 */
function moveFocus({ leftId, isReturn }) {
  if (isHome()) return list.focus(leftId, { preventScroll: isReturn })
  const target = shown.focus?.() ?? main
  target.focus({ preventScroll: true })
}

function isHome() {
  return document.body.dataset.page === 'home'
}

/** A link of the header is marked as current on its own page and on the pages below it. */
function markLinks(path) {
  for (const link of document.querySelectorAll('.top nav a')) {
    const leadsTo = pathOf(link)
    setAttribute(link, 'aria-current', leadsTo === path || path.startsWith(`${leadsTo}/`) ? 'page' : null)
  }
}
