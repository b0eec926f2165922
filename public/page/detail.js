/** One task, live: how it stands, how far it is, what it was given, what came of it, and everything that happened to it. */
import { isFinal } from '../task-stream.js'
import { baseUrl, serverNow } from './api.js'
import { createCancelButton } from './cancel.js'
import { onTick } from './clock.js'
import { createChangingSnippet, createJson, createSection } from './code.js'
import { knownNow, onPageConnection, pageConnection, watchTask } from './connection.js'
import { createBar, createCopyButton, createStatus, h, setAttribute, setText } from './dom.js'
import { createFacts } from './facts.js'
import { createFiles } from './files.js'
import { createSnippets } from './snippets.js'
import { startTimeline } from './timeline.js'
import { describeConnection, describeSeconds, describeStanding } from './words.js'

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/**
 * Shows the task in `root` and follows it. `onTask` gets it at each change. A task that does not exist is said to be so.
 *
 * Whatever comes changes texts in place: a press, a selection or the focus outlives any number of messages.
 */
export function startDetail(root, id, { onTask }) {
  if (!ID.test(id)) {
    root.replaceChildren(createBackLink(), ...describeAbsence(id, { text: 'The id is malformed' }))
    return { stop() {} }
  }
  let view
  const timeline = startTimeline(id, { onChange: () => view?.tick() })
  root.replaceChildren(createBackLink(), h('p', { class: 'notice' }, 'Reading the task…'))

  const watch = watchTask(id, {
    onChange({ task, message }) {
      if (!view) {
        view = createView(task, timeline)
        root.replaceChildren(createBackLink(), ...view.elements)
      }
      timeline.take(task, message)
      view.update(task)
      onTask(task, message)
    },
    onConnection(connection) {
      if (connection.state === 'stopped') {
        view?.stop()
        view = undefined
        root.replaceChildren(createBackLink(), ...describeAbsence(id, connection))
      }
    },
  })
  const stopTicking = onTick(() => view?.tick())
  const stopListening = onPageConnection(() => view?.tick())
  return {
    stop() {
      stopTicking()
      stopListening()
      timeline.stop()
      view?.stop()
      watch.close()
    },
  }
}

function createBackLink() {
  return h('a', { class: 'back', href: '#/' }, '← All tasks')
}

function describeAbsence(id, { text }) {
  return [
    h('h1', { tabindex: -1 }, text),
    h('p', {}, 'Check the address: the id in it is'),
    h('p', {}, h('code', {}, id)),
    h('p', {}, 'The list shows the tasks that exist.'),
  ]
}

function createView(first, timeline) {
  let task = first
  const head = createHead(first)
  const outcome = createOutcome()
  const facts = createFacts()
  const files = createFiles(first.id)
  const payload = createJson('Payload', first.payload)
  const snippets = createSnippets(first, baseUrl).map(createChangingSnippet)
  const stream = h('p', { class: 'connection inline' })

  const tick = () => {
    const { standing, isKnown } = describePresent(task, timeline)
    setText(head.standing, standing)
    setAttribute(head.standing, 'data-known', isKnown ? null : 'false')
    const shown = isFinal(task.status) ? { state: 'finished', text: 'Finished: nothing more to come' } : pageConnection()
    setAttribute(stream, 'data-state', shown.state)
    setText(stream, describeConnection(shown, serverNow()))
  }
  const update = (changed) => {
    task = changed
    head.update(task)
    outcome.update(task)
    facts.update(task)
    files.update(task)
    payload.update(task.payload)
    createSnippets(task, baseUrl).forEach((snippet, index) => snippets[index].update(snippet))
    tick()
  }
  return {
    elements: [
      ...head.elements,
      outcome.element,
      files.element,
      h('div', { class: 'split' }, createSection('History', [timeline.element, stream]), createSection('Details', [facts.element])),
      payload.element,
      createSection('From your own code', snippets.map(({ element }) => element)),
    ],
    update,
    tick,
    stop: files.stop,
  }
}

/** The one-glance answer; while the server is away, as of the moment when it was heard last. */
function describePresent(task, timeline) {
  const standing = describeStanding(task, timeline.sinceAt() ?? task.startedAt ?? task.createdAt, knownNow())
  const { lostAt } = pageConnection()
  const isKnown = lostAt === undefined || isFinal(task.status)
  return { standing: isKnown ? standing : `${standing} when last heard of`, isKnown }
}

/** Title, status, the one-glance answer and the progress. */
function createHead(first) {
  const title = h('h1', { tabindex: -1 })
  const status = createStatus(first.status)
  const standing = h('span', { class: 'standing' })
  const copyId = createCopyButton(() => first.id, 'Copy the id')
  const cancel = createCancelButton(first.id)
  const progress = createProgress()
  const update = (task) => {
    setText(title, task.title)
    status.update(task.status)
    progress.update(task)
    cancel.update(task)
  }
  const elements = [title, h('p', { class: 'id' }, h('code', {}, first.id), copyId), h('p', { class: 'glance' }, status.element, standing), progress.element, cancel.element]
  return { elements, standing, update }
}

function createProgress() {
  const bar = createBar('Progress')
  const message = h('span', {})
  const count = h('span', { class: 'count' })
  const data = h('p', { class: 'progress-data' })
  const update = ({ status, progress }) => {
    const isRunning = status === 'PROCESSING' || status === 'CANCELLING'
    const fraction = status === 'COMPLETED' ? 1 : progress ? progress.fraction : isRunning ? null : undefined
    bar.update(isRunning ? fraction : (fraction ?? undefined), { status, text: progress?.message })
    setText(message, progress?.message ?? (isRunning ? 'No progress reported yet' : ''))
    setText(count, describeCount(fraction, progress, status))
    setText(data, describeData(progress?.data))
  }
  return { element: h('div', { class: 'progress' }, bar.element, h('p', { class: 'progress-text' }, message, count), data), update }
}

/** What is left is guessed for a task that goes on, and for no other. */
function describeCount(fraction, progress, status) {
  const percent = typeof fraction === 'number' ? `${Math.round(fraction * 100)} %` : ''
  const isCounted = typeof progress?.done === 'number' && progress.message === null
  const count = isCounted ? `${progress.done}${progress.total === null ? '' : ` of ${progress.total}`}` : ''
  const left = status === 'PROCESSING' && progress?.remainingMs > 1_000 && fraction !== 1 ? `about ${describeSeconds(progress.remainingMs)} left` : ''
  return [count, percent, left].filter(Boolean).join(' · ')
}

/** What a handler says besides: `rows 1200 · stage upload`. */
function describeData(data) {
  if (data === null || typeof data !== 'object') return data === undefined ? '' : String(data)
  return Object.entries(data)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' · ')
}

/** Failure and result, once there are any. */
function createOutcome() {
  const element = h('div', { class: 'outcome' })
  const shown = {}
  const keep = (name, value, create) => {
    if (value === null || value === undefined) {
      shown[name]?.element.remove()
      delete shown[name]
      return
    }
    if (!shown[name]) element.append((shown[name] = create(value)).element)
    shown[name].update(value)
  }
  return {
    element,
    update({ failure, result }) {
      keep('failure', failure, createFailure)
      keep('result', result, (value) => createJson('Result', value))
    },
  }
}

function createFailure() {
  const message = h('pre', { tabindex: 0, role: 'region', 'aria-label': 'Failure message' })
  const note = h('p', {})
  return {
    element: h('section', { class: 'failure', 'aria-label': 'Failure' }, h('h2', {}, 'Failure'), message, note),
    update(failure) {
      setText(message, failure.message)
      setText(note, `code: ${failure.code} · attempt ${failure.attempt}`)
    },
  }
}
