/**
 * The page: a list of tasks beside a form, one task, or the types of task, chosen by the address.
 *
 * `#/` the list (with the form where there is room), `#/new` the form, `#/new/<type>` for a type, `#/tasks/<id>` the task, `#/types`
 * the types, `#/types/<type>` one of them.
 */
import { isFinal } from './task-stream.js'
import { serverNow } from './page/api.js'
import { onTick } from './page/clock.js'
import { onPageConnection, pageConnection } from './page/connection.js'
import { startCreateForm } from './page/create.js'
import { startDetail } from './page/detail.js'
import { setAttribute, setText } from './page/dom.js'
import { startTaskList } from './page/list.js'
import { startTypes } from './page/types.js'
import { describeConnection } from './page/words.js'

const element = (id) => document.getElementById(id)
let detail
let types
let shownId
let standingBefore = 'connecting'

element('fallback').remove()
const list = startTaskList(element('list'))
const form = startCreateForm(element('create'), {
  onTypes(types) {
    list.setTypes(types)
    if (document.activeElement === element('main')) moveToView() // it was chosen before there was a form
  },
  onCreated(task) {
    location.hash = taskPath(task.id)
  },
})
element('skip').addEventListener('click', (event) => {
  event.preventDefault() // the address names what is shown, not a place on the page
  element(document.body.dataset.view === 'list' ? 'list' : 'main').focus()
})
window.addEventListener('hashchange', () => show({ isNavigation: true }))
onTick(showConnection)
onPageConnection(showConnection)
showConnection()
show({ isNavigation: false })

function show({ isNavigation }) {
  detail?.stop()
  detail = undefined
  types?.stop()
  types = undefined
  const { view, name } = readAddress()
  const id = view === 'task' ? name : undefined
  const leftId = shownId
  shownId = id
  document.body.dataset.view = view
  for (const of of ['new', 'types']) setAttribute(element(`to-${of}`), 'aria-current', view === of ? 'page' : null)
  element('create').hidden = view !== 'list' && view !== 'new'
  for (const [part, of] of [['detail', 'task'], ['types', 'types']]) {
    element(part).hidden = view !== of
    element(part).replaceChildren()
  }
  setText(element('announcer'), '')
  list.select(id)
  document.title = 'Taskwire'
  if (id !== undefined) openTask(id)
  if (view === 'types') openTypes(name)
  if (view === 'new' && name !== undefined) form.select(name)
  if (isNavigation) moveToView(leftId)
}

function openTypes(type) {
  document.title = `${type ?? 'Types'} · Taskwire`
  types = startTypes(element('types'), type)
}

function openTask(id) {
  let status
  detail = startDetail(element('detail'), id, {
    onTask(task) {
      document.title = `${task.status} · ${task.title} · Taskwire`
      if (status !== undefined && status !== task.status) announce(task)
      status = task.status
    },
  })
}

/** For those who hear the page: every status, and no progress. */
function announce({ title, status, failure }) {
  setText(element('announcer'), `${title}: ${status}${isFinal(status) && failure ? `. ${failure.message}` : ''}`)
}

/** Reading and the tab key start at the top of what was chosen; in the list, where the reader left it. */
function moveToView(leftId) {
  const { view } = document.body.dataset
  if (view === 'list') return list.focus(leftId)
  window.scrollTo({ top: 0 })
  const firstField = view === 'new' ? element('create').querySelector('select') : null
  const target = firstField ?? element('main')
  target.focus({ preventScroll: true })
}

/** Which view the address names, and of what. */
function readAddress() {
  const [, part, encoded] = /^#\/(tasks|types|new)(?:\/([^/?]+))?$/.exec(location.hash) ?? []
  const name = decode(encoded)
  if (part === 'tasks') return name === undefined ? { view: 'list' } : { view: 'task', name }
  return { view: part ?? 'list', name }
}

function decode(encoded) {
  try {
    return encoded === undefined ? undefined : decodeURIComponent(encoded)
  } catch {
    return encoded
  }
}

function taskPath(id) {
  return `#/tasks/${encodeURIComponent(id)}`
}

/** The header tells how the page as a whole stands with the server. */
function showConnection() {
  const connection = pageConnection()
  const { state } = connection
  setAttribute(element('connection'), 'data-state', state)
  setText(element('connection'), describeConnection(connection, serverNow()))
  if (state === standingBefore) return
  // Said once, not at each second of a countdown.
  if (standingBefore !== 'connecting') setText(element('announcer'), state === 'live' ? 'Live again' : connection.text)
  standingBefore = state
}
