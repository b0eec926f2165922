/** One task, live: how it stands, how far it is, what it was given, what came of it, and everything that happened to it. */
import { watchTask } from '../task-stream.js'
import { baseUrl, serverNow } from './api.js'
import { createCancelButton } from './cancel.js'
import { createTime, onTick } from './clock.js'
import { createJson, createSection, createSnippet } from './code.js'
import { createBar, createCopyButton, createStatus, h, setAttribute, setText } from './dom.js'
import { createFiles } from './files.js'
import { createSnippets } from './snippets.js'
import { startTimeline } from './timeline.js'
import { typePath } from './types.js'
import { describeConnection, describeInstant, describeSeconds, describeStanding } from './words.js'

/**
 * Shows the task in `root` and follows it. `onTask` gets it at each change, `onConnection` how its stream stands. A task
 * that does not exist is said to be so.
 */
export function startDetail(root, id, { onTask, onConnection }) {
  let view
  const timeline = startTimeline(id, { onChange: () => view?.tick() })
  root.replaceChildren(createBackLink(), h('p', { class: 'notice' }, 'Reading the task…'))

  const watch = watchTask(id, {
    baseUrl,
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
      if (connection.state === 'stopped') root.replaceChildren(createBackLink(), ...describeAbsence(id, connection))
      view?.showConnection(connection)
      onConnection(connection)
    },
  })
  const stopTicking = onTick(() => view?.tick())
  return {
    /** For when the server is known to be back. */
    retryNow: () => watch.retryNow(),
    stop() {
      stopTicking()
      timeline.stop()
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
  let connection = { state: 'live', text: 'Live' }
  const head = createHead(first)
  const outcome = h('div', { class: 'outcome' })
  const facts = createFacts(first)
  let payload = { value: first.payload, element: createJson('Payload', first.payload) }
  const files = createFiles(first.id)
  const stream = h('p', { class: 'connection inline', 'data-state': 'live' })

  const tick = () => {
    setText(head.standing, describeStanding(task, timeline.sinceAt() ?? task.startedAt ?? task.createdAt, serverNow()))
    setText(stream, describeConnection(connection))
  }
  const updatePayload = (value) => {
    // Read anew it is another object, and the reader may have selected some of what is shown.
    if (value === payload.value || JSON.stringify(value) === JSON.stringify(payload.value)) return
    const element = createJson('Payload', value)
    payload.element.replaceWith(element)
    payload = { value, element }
  }
  const update = (changed) => {
    task = changed
    head.update(task)
    facts.update(task)
    files.update(task)
    updatePayload(task.payload)
    const blocks = [task.failure && createFailure(task.failure), task.result !== null && createJson('Result', task.result)]
    if (blocks.filter(Boolean).length !== outcome.children.length) outcome.replaceChildren(...blocks.filter(Boolean))
    tick()
  }
  return {
    elements: [
      ...head.elements,
      outcome,
      files.element,
      h('div', { class: 'split' }, createSection('History', [timeline.element, stream]), createSection('Details', [facts.element])),
      payload.element,
      createSection('From your own code', createSnippets(first, baseUrl).map(createSnippet)),
    ],
    update,
    tick,
    showConnection(changed) {
      connection = changed
      setAttribute(stream, 'data-state', connection.state)
      tick()
    },
  }
}

/** Title, status, the one-glance answer and the progress. */
function createHead(first) {
  const title = h('h1', { tabindex: -1 }, first.title)
  const status = createStatus(first.status)
  const standing = h('span', { class: 'standing' })
  const bar = createBar('Progress')
  const message = h('span', {})
  const count = h('span', { class: 'count' })
  const data = h('p', { class: 'progress-data' })
  const copyId = createCopyButton(() => first.id, 'Copy the id')
  const cancel = createCancelButton(first.id)
  const progress = h('div', { class: 'progress' }, bar.element, h('p', { class: 'progress-text' }, message, count), data)
  const update = (task) => {
    const { status: now, progress } = task
    setText(title, task.title)
    status.update(now)
    cancel.update(task)
    const isRunning = now === 'PROCESSING' || now === 'CANCELLING'
    const fraction = now === 'COMPLETED' ? 1 : progress ? progress.fraction : isRunning ? null : undefined
    bar.update(isRunning ? fraction : (fraction ?? undefined), { status: now, text: progress?.message })
    setText(message, progress?.message ?? (isRunning ? 'No progress reported yet' : ''))
    setText(count, describeCount(fraction, progress))
    setText(data, describeData(progress?.data))
  }
  const elements = [
    title,
    h('p', { class: 'id' }, h('code', {}, first.id), copyId),
    h('p', { class: 'glance' }, status.element, standing),
    progress,
    cancel.element,
  ]
  return { elements, standing, update }
}

function describeCount(fraction, progress) {
  const percent = typeof fraction === 'number' ? `${Math.round(fraction * 100)} %` : ''
  const isCounted = typeof progress?.done === 'number' && progress.message === null
  const count = isCounted ? `${progress.done}${progress.total === null ? '' : ` of ${progress.total}`}` : ''
  const left = progress?.remainingMs > 1_000 && fraction !== 1 ? `about ${describeSeconds(progress.remainingMs)} left` : ''
  return [count, percent, left].filter(Boolean).join(' · ')
}

/** What a handler says besides: `rows 1200 · stage upload`. */
function describeData(data) {
  if (data === null || typeof data !== 'object') return data === undefined ? '' : String(data)
  return Object.entries(data)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' · ')
}

function createFacts(first) {
  const element = h('dl', { class: 'facts' })
  const update = (task) => {
    const { type, version, attempt, priority, queue, tags, uniqueKey, parentId, batchId, callbackUrl } = task
    const facts = [
      ['Type', h('a', { href: typePath(type) }, h('code', {}, type))],
      ['Version', String(version)],
      ['Attempt', String(attempt)],
      ['Created', createMoment(task.createdAt)],
      ['Runs', task.runAt && createMoment(task.runAt)],
      ['Started', task.startedAt && createMoment(task.startedAt)],
      ['Finished', task.finishedAt && createMoment(task.finishedAt)],
      ['Queue', queue],
      ['Priority', priority !== 0 && String(priority)],
      ['Expires', task.expiresAt && createMoment(task.expiresAt)],
      ['Unique key', uniqueKey && h('code', {}, uniqueKey)],
      ['Made by', parentId && h('a', { href: `#/tasks/${parentId}` }, 'its parent')],
      ['Batch', batchId && h('code', {}, batchId)],
      ['Callback', callbackUrl && h('code', {}, callbackUrl)],
      ['Tags', tags.length > 0 && tags.join(', ')],
    ]
    element.replaceChildren(...facts.filter(([, value]) => value).map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))))
  }
  update(first)
  return { element, update }
}

function createMoment(instant) {
  return h('span', { class: 'moment' }, createTime(instant), h('span', { class: 'absolute' }, describeInstant(instant)))
}

function createFailure({ code, message, attempt }) {
  return h('section', { class: 'failure', 'aria-label': 'Failure' }, h('h2', {}, 'Failure'), h('pre', {}, message), h('p', {}, `code: ${code} · attempt ${attempt}`))
}
