/**
 * The playground shows the protocol live, over a bare WebSocket. As everywhere, `fold` decides how a message changes
 * the task. The tables come from `/asyncapi.json`, so they describe this server.
 */
import { createBar } from './parts/bar.js'
import { h, setText } from './parts/dom.js'
import { createStatus } from './parts/status.js'
import { describeFailure } from './parts/trouble.js'
import { baseUrl, getJson, readUntilDone } from './server/api.js'
import { CLOSES } from './protocol.js'
import { createTask, fold, isFinal, shouldReconnect } from './task-stream.js'
import { connection as connectionText, playground as text, task as taskText } from './text/en.js'

const element = (id) => document.getElementById(id)
/** Slow enough to drop the connection in each status. */
const TASK = { title: 'playground', payload: { steps: 12, stepMs: 500 }, delayMs: 3_000 }

let task
let socket
/** The version of the task when the connection was opened: transitions up to it were missed. */
let versionAtConnect = 0
let isLosing = false

const status = createStatus('PENDING')
const bar = createBar(taskText.progress)
const version = h('strong')
const chips = h('ol', { class: 'chips', 'aria-label': text.versions })

element('run').addEventListener('click', run)
element('cut').addEventListener('click', cut)
element('connect').addEventListener('click', connect)
element('lose').addEventListener('click', () => {
  isLosing = true
  showButtons()
})
readUntilDone('/asyncapi.json', { has: 'channels', onRead: showTables })

async function run() {
  socket?.close()
  socket = task = undefined
  isLosing = false
  element('wire').replaceChildren()
  chips.replaceChildren()
  element('held').replaceChildren()
  try {
    const { id } = await createTask(TASK, { baseUrl })
    element('held').replaceChildren(status.element, h('p', {}, text.version, version), bar.element, chips)
    open(id)
  } catch (error) {
    say('stopped', describeFailure(error))
  }
}

/** Like a tunnel, a lift or a closed laptop: the server is not told. */
function cut() {
  forget()
  note(text.cut)
  say('away', text.nothingArrives)
}

/**
 * Connects with the held version. Before that it reads the current version of the task, only to show below which
 * transitions were missed.
 */
async function connect() {
  element('connect').disabled = true
  try {
    const { version } = await getJson(`/api/tasks/${task.id}`, { has: 'version' })
    versionAtConnect = version
    open(task.id)
  } catch (error) {
    say('away', describeFailure(error))
  }
}

function open(id) {
  const path = `/ws/tasks/${id}${task ? `?since=${task.version}` : ''}`
  if (!task) versionAtConnect = 0
  const opened = new WebSocket(`${baseUrl.replace('http', 'ws')}${path}`)
  socket = opened
  note(`new WebSocket('${path}')`)
  say('connecting', connectionText.connecting)
  opened.onopen = () => say('live', connectionText.live)
  opened.onmessage = ({ data }) => opened === socket && receive(JSON.parse(data))
  opened.onclose = ({ code }) => opened === socket && closed(code)
}

function forget() {
  const old = socket
  socket = undefined
  old?.close()
}

function receive(message) {
  if (isLosing && message.type === 'transition') {
    isLosing = false
    showButtons()
    return log(message, 'lost', text.lost)
  }
  const { task: next, outcome } = fold(task, message)
  if (outcome === 'gap') {
    log(message, 'gap', text.gap(task.version, message.version))
    forget()
    return connect()
  }
  const isMissed = message.type === 'transition' && message.version <= versionAtConnect
  log(message, isMissed ? 'missed' : outcome, describe(message, outcome, isMissed))
  if (message.type === 'transition' || (message.type === 'snapshot' && !task)) addChip(message, isMissed)
  task = next
  show()
}

function describe(message, outcome, isMissed) {
  if (outcome === 'stale') return text.stale
  if (isMissed) return text.missed
  if (message.type === 'waiting') return message.waitingFor?.text ?? ''
  return text.outcomes[message.type] ?? ''
}

function closed(code) {
  socket = undefined
  note(
    text.closedNote(
      code,
      code === CLOSES.ended.code ? text.hasEnded : shouldReconnect(code) ? text.connectAgain : text.stop,
    ),
  )
  if (code === CLOSES.ended.code) say('finished', connectionText.finished)
  else say('away', text.closed(code))
}

function show() {
  status.update(task.status)
  setText(version, String(task.version))
  const fraction = isFinal(task.status) ? 1 : task.status === 'PROCESSING' ? (task.progress?.fraction ?? 0) : undefined
  bar.update(fraction, { status: task.status, text: task.progress?.message ?? task.status })
  showButtons()
}

function addChip({ version, status }, isMissed) {
  chips.append(
    h(
      'li',
      { 'data-how': isMissed ? 'missed' : 'live' },
      `${version} ${status}`,
      isMissed ? h('small', {}, text.filledIn) : null,
    ),
  )
}

function log(message, kind, comment) {
  const shown = { ...message, taskId: undefined, ...(message.type === 'snapshot' && { task: '{…}' }) }
  const line = h(
    'li',
    { 'data-kind': kind, 'data-type': message.type },
    h('code', {}, JSON.stringify(shown)),
    h('small', {}, comment),
  )
  // Of progress, only the latest is shown here too.
  const last = element('wire').lastElementChild
  if (message.type === 'progress' && last?.dataset.type === 'progress') last.remove()
  addLine(line)
}

function note(words) {
  addLine(h('li', { 'data-kind': 'note' }, words))
}

function addLine(line) {
  const wire = element('wire')
  wire.append(line)
  wire.scrollTop = wire.scrollHeight
}

function say(state, words) {
  element('line').dataset.state = state
  setText(element('line'), words)
  showButtons()
}

function showButtons() {
  const isOver = task !== undefined && isFinal(task.status)
  element('cut').disabled = socket === undefined || task === undefined || isOver
  element('connect').disabled = socket !== undefined || task === undefined || isOver
  element('lose').disabled = socket === undefined || isOver || isLosing
  setText(element('lose'), isLosing ? text.willLose : text.lose)
}

function showTables({ components, channels, info }) {
  const names = Object.keys(channels.taskStream.messages)
  fill(
    'message-table',
    text.messageColumns,
    names.map((name) => [
      h('code', {}, name),
      components.messages[name].title,
      toText(components.messages[name].summary),
    ]),
  )
  fill(
    'code-table',
    text.codeColumns,
    info['x-close-codes'].map(({ code, means, action }) => [
      h('code', {}, String(code)),
      toText(means),
      toText(action),
    ]),
  )
}

/** Text between backticks as code. */
function toText(words) {
  return words.split('`').map((part, index) => (index % 2 === 1 ? h('code', {}, part) : part))
}

function fill(id, heads, rows) {
  const toRow = (name) => (cells) =>
    h(
      'tr',
      {},
      cells.map((cell) => h(name, name === 'th' ? { scope: 'col' } : {}, ...[cell].flat())),
    )
  element(id).replaceChildren(h('thead', {}, toRow('th')(heads)), h('tbody', {}, rows.map(toRow('td'))))
}
