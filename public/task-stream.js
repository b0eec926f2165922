/**
 * The client of Taskwire's streams: create a task, watch it, know when it ends. For browsers and Node, without
 * dependencies and without a DOM. Types: `task-stream.d.ts`.
 *
 *     for await (const { task } of watchTask(id)) console.log(task.status)
 *
 * What a watch promises: every version it is told of is reported exactly once and in order, whatever the network does,
 * and it ends when the task has ended.
 *
 * 1. Connect to `/ws/tasks/:id`; once it holds a task, with `?since=<version>` so that only what was missed is sent.
 * 2. Fold each message into the task (see `fold`) and report those that changed it.
 * 3. Connection lost: wait (exponential backoff, full jitter) and go to 1. A gap between versions: go to 1 at once.
 * 4. Nothing heard for 30 s, though a server says something every 15 s: the connection is dead, whatever it looks like; go to 1 at once.
 * 5. Final status: done. Close code 4500-4999: stop with an error, because trying again would not help.
 *
 * A browser does not show why an upgrade was refused. So an attempt that never opened is followed by one plain GET,
 * which tells "no such task" (stop) from "server away" (keep trying).
 *
 * Where WebSockets are blocked (two attempts brought nothing, though the server answers plain requests) the watch goes on
 * over server-sent events, and where those are held back, over long polls. The steps above stay the same. A fallback that
 * brings nothing either is left in its turn, after the last for the first: no way is given up for ever.
 */

import { readProblem, requestJson } from './requests.js'

export { openLive, watchList } from './live.js'
export { ConnectionError, ProblemError } from './requests.js'

const FINAL_STATUSES = new Set(['COMPLETED', 'FAILED', 'CANCELLED', 'EXPIRED'])

/** For `live*.js`. */
export const STOP_REASONS = {
  4500: 'The server did not understand this client',
  4503: 'You may no longer watch this task',
  4504: 'There is no such task',
  4509: 'Too many streams are open',
  4511: 'The task has been deleted',
}
/** Answers that a later attempt would meet again, as the close code that says the same on an open stream. */
const STOP_CODE_OF_HTTP_STATUS = { 400: 4500, 401: 4503, 403: 4503, 404: 4504, 410: 4511, 421: 4503 }

const MIN_DELAY_MS = 250
const MAX_DELAY_MS = 10_000
const MAX_RETRY_AFTER_MS = 60_000
const CONNECT_DEADLINE_MS = 10_000
/** Twice what a server is silent at most. */
const MAX_SILENCE_MS = 30_000
/** A timer that comes so late was held back with everything else: the machine slept, or the tab is in the background. */
const LATE_TIMER_MS = 1_000
/** What was said meanwhile gets this long to arrive. */
const WAKE_GRACE_MS = 5_000
/** A transport that brought nothing so often is left for the next. */
const MAX_MUTE_ATTEMPTS = 2
/** An answer comes in less than the longest silence. */
const MAX_POLL_SECONDS = 24
const REFUSAL_DEADLINE_MS = 5_000
const REQUEST_DEADLINE_MS = 30_000
/** How many tasks one subscription may name. */
const MAX_IDS = 1_000
/** The `readyState` of a WebSocket that has not opened yet. */
const CONNECTING = 0
/** A connection that brought no change still counts as good when it stood this long. */
const GOOD_CONNECTION_MS = 5_000

/** Whether nothing can follow this status. */
export function isFinal(status) {
  return FINAL_STATUSES.has(status)
}

/** Whether to reconnect after this WebSocket close code: 1000 and 4500-4999 mean stop. */
export function shouldReconnect(code) {
  return code !== 1000 && (code < 4500 || code > 4999)
}

/**
 * The one rule by which a watcher turns messages into the task it shows. Snapshot replaces; a version at or below mine
 * is `stale`; the next version is `applied`; anything further is a `gap`, to be refilled from the server. Pure.
 */
export function fold(task, message) {
  switch (message.type) {
    case 'snapshot': {
      const replaces = task === undefined || message.reset === true || message.version >= task.version
      return replaces ? applied(message.task) : { task, outcome: 'stale' }
    }
    case 'transition': {
      if (task !== undefined && message.version <= task.version) return { task, outcome: 'stale' }
      if (task === undefined || message.version > task.version + 1) return { task, outcome: 'gap' }
      return applied(applyTransition(task, message))
    }
    case 'progress': {
      if (task === undefined || message.version > task.version) return { task, outcome: 'gap' }
      const isStale =
        message.version < task.version ||
        message.attempt !== task.attempt ||
        (task.progress !== null && message.progress.at < task.progress.at)
      return isStale ? { task, outcome: 'stale' } : applied({ ...task, progress: message.progress })
    }
    default: // `resumed`, and whatever a newer server may add
      return applied(task)
  }
}

function applied(task) {
  return { task, outcome: 'applied' }
}

function applyTransition(task, { status, version, attempt, at, runAt, result, failure, edited, changes }) {
  if (edited) return { ...task, version, ...changes }
  const isRunning = status === 'PROCESSING'
  return {
    ...task,
    status,
    version,
    attempt,
    runAt: runAt ?? null,
    startedAt: isRunning ? (task.startedAt ?? at) : task.startedAt,
    progress: isRunning ? null : task.progress,
    result: status === 'COMPLETED' ? (result ?? null) : task.result,
    failure: status === 'FAILED' ? (failure ?? null) : task.failure,
    finishedAt: isFinal(status) ? at : task.finishedAt,
  }
}

/** The watch stopped before the task ended; `code` is the close code that says why, or 1000 after `close()`. */
export class WatchError extends Error {
  name = 'WatchError'
  constructor(code, message) {
    super(message)
    this.code = code
  }
}

/** Follows one task until it ends. */
export function watchTask(id, options = {}) {
  return new TaskWatch(id, options)
}

/** Follows a selection of tasks over one WebSocket, until it is closed. */
export function watchTasks(selection, options = {}) {
  return new TasksWatch(selection, options)
}

/**
 * Creates a task and returns it as accepted. Throws `ProblemError` when the server, or a proxy before it, refuses it, and
 * `ConnectionError` when no answer came.
 */
export async function createTask(body, { baseUrl, fetch, signal, timeoutMs = REQUEST_DEADLINE_MS, idempotencyKey } = {}) {
  const { body: task } = await requestJson(urlOf(baseUrl, 'api/tasks'), {
    ...{ fetch, signal, timeoutMs, has: 'id', method: 'POST', body: JSON.stringify(body) },
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
      ...(idempotencyKey !== undefined && { 'idempotency-key': `"${idempotencyKey}"` }),
    },
  })
  return task
}

/** Creates a task and waits for its end, whichever it is: look at `status`. */
export async function runTask(body, options = {}) {
  const task = await createTask(body, options)
  return watchTask(task.id, { ...options, task }).finished
}

/** The same with the type of task as the first argument, for a compiler that knows the types: see `task-stream.d.ts`. */
export function createClient(options = {}) {
  return {
    create: (type, payload, more = {}) => createTask({ ...more, type, payload }, options),
    async run(type, payload, more = {}, { onProgress } = {}) {
      const onChange = (change) => {
        if (change.message.type === 'progress') onProgress?.(change.task.progress)
        options.onChange?.(change)
      }
      const task = await runTask({ ...more, type, payload }, { ...options, onChange })
      if (task.status !== 'COMPLETED') throw new TaskEndedError(task)
      return task.result
    },
  }
}

/** The task has ended otherwise than as COMPLETED. */
export class TaskEndedError extends Error {
  constructor(task) {
    super(task.failure?.message ?? `the task is ${task.status}`)
    this.name = 'TaskEndedError'
    this.task = task
  }
}

/** Changes on their way to those who iterate; each reader has an inbox of its own. */
class Reports {
  #inboxes = new Set()
  #isEnded = false
  #error

  add(change) {
    for (const inbox of this.#inboxes) {
      const last = inbox.changes.at(-1)?.message
      // A reader that is slower than the stream gets every transition, and of progress and of a list the latest.
      const isOvertaken = 'view' in change || change.message.type === 'progress' && last?.type === 'progress' && last.taskId === change.message.taskId
      if (isOvertaken) inbox.changes.pop()
      inbox.changes.push(change)
      inbox.wake()
    }
  }

  end(error) {
    this.#isEnded = true
    this.#error = error
    for (const inbox of this.#inboxes) inbox.wake()
  }

  /** What is added from now on; `onLeave` when the reader leaves. */
  iterate(onLeave) {
    const inbox = { changes: [], wake: () => {} }
    this.#inboxes.add(inbox)
    return this.#drain(inbox, onLeave)
  }

  async *#drain(inbox, onLeave) {
    try {
      for (;;) {
        const change = inbox.changes.shift()
        if (change) yield change
        else if (this.#error) throw this.#error
        else if (this.#isEnded) return
        else await new Promise((resolve) => (inbox.wake = resolve))
      }
    } finally {
      this.#inboxes.delete(inbox)
      onLeave()
    }
  }
}

/** For `live*.js` too. What every watch has: a standing with the server, reports for those who iterate or are called, and one end. */
export class Lifeline {
  /** The open connection, if there is one. */
  line
  /** Of a pause, or of the wait for a sign of the server. */
  timer
  failureCount = 0
  isEnded = false
  #connection = { state: 'connecting', text: 'Connecting…' }
  /** When the server was heard last, by the clock that people read; undefined before it was. */
  #heardAt
  /** The same by a clock that nobody sets. */
  #heardAtMs = 0
  #options
  #onAbort
  #reports = new Reports()

  /** `close` ends the watch: when the caller's signal aborts, or a reader leaves its loop. */
  constructor(options, close) {
    urlOf(options.baseUrl, '')
    this.#options = options
    this.#onAbort = close
    options.signal?.addEventListener('abort', close)
  }

  iterate() {
    return this.#reports.iterate(this.#onAbort)
  }

  report(change) {
    this.#reports.add(change)
    callBack(this.#options.onChange, change)
  }

  get connection() {
    return { ...this.#connection, ...(this.#heardAt && { heardAt: this.#heardAt }) }
  }

  show(connection) {
    this.#connection = connection
    callBack(this.#options.onConnection, this.connection)
  }

  /** The server has said something, whatever it is. */
  hear() {
    this.#heardAtMs = performance.now()
    this.#heardAt = Date.now()
  }

  /** The first message of a new connection must come in time, or `onSilence` is called. */
  expectStart(onSilence) {
    const startedAtMs = performance.now()
    this.#watchSilence(() => startedAtMs, this.#options.connectMs ?? CONNECT_DEADLINE_MS, onSilence)
  }

  /** From now on signs must go on, or `onSilence` is called with how long none came. */
  expectSigns(onSilence) {
    this.#watchSilence(() => this.#heardAtMs, this.#options.silenceMs ?? MAX_SILENCE_MS, onSilence)
  }

  /** A sign moves no timer, because there may be thousands a second: when the timer comes, it looks how old the last sign is. */
  #watchSilence(since, maxMs, onSilence, graceEndsMs) {
    clearTimeout(this.timer)
    const dueMs = graceEndsMs ?? since() + maxMs
    this.timer = setTimeout(() => {
      const nowMs = performance.now()
      const isLate = nowMs - dueMs > Math.min(LATE_TIMER_MS, maxMs / 4)
      if (nowMs - since() < maxMs) this.#watchSilence(since, maxMs, onSilence)
      else if (isLate && graceEndsMs === undefined) this.#watchSilence(since, maxMs, onSilence, nowMs + Math.min(WAKE_GRACE_MS, maxMs / 2))
      else onSilence(nowMs - since())
    }, Math.max(0, dueMs - performance.now()))
  }

  disconnect({ isPatient = false } = {}) {
    clearTimeout(this.timer)
    this.line?.close(isPatient)
    this.line = undefined
  }

  /** Connects again after the pause that the server asked for, or one that grows; says so as `describe` has it. */
  reconnectLater(reason, connect, describe) {
    const delayMs = retryAfterMs(reason) ?? backoffMs(this.failureCount, this.#options)
    this.failureCount++
    this.show({ ...describe(delayMs), retryAt: Date.now() + delayMs })
    this.timer = setTimeout(connect, delayMs)
  }

  end(connection, error) {
    if (this.isEnded) return
    this.isEnded = true
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    this.disconnect({ isPatient: true })
    this.#reports.end(error)
    this.show(connection)
  }
}

class TaskWatch {
  #life
  #id
  #options
  #task
  #transports
  /** Which of the transports is used: an index. */
  #way = 0
  #muteCount = 0
  /** The last line of the handler's log that was reported. */
  #lastLine = 0
  #resolve
  #reject

  constructor(id, options) {
    this.#id = id
    this.#options = options
    this.#task = options.task
    this.#transports = (options.transports ?? Object.keys(TRANSPORTS)).filter(
      (name) => name !== 'websocket' || (options.WebSocket ?? globalThis.WebSocket),
    )
    if (this.#transports.length === 0) throw new TypeError('There is no WebSocket here: pass one, or allow other transports')
    this.#life = new Lifeline(options, () => this.close())
    this.finished = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.finished.catch(() => {}) // whoever wants to know awaits it; nobody has to
    if (options.signal?.aborted) this.close()
    else if (this.#task && isFinal(this.#task.status)) this.#finish()
    else this.#connect()
  }

  get task() {
    return this.#task
  }

  get connection() {
    return this.#life.connection
  }

  close() {
    this.#reject(new WatchError(1000, 'The watch was closed'))
    this.#life.end({ state: 'closed', text: 'Closed' })
  }

  /** A server that is known to be back need not be waited for; one that asked for a pause gets it. */
  retryNow() {
    if (this.#life.connection.state !== 'away') return
    this.#life.show({ state: 'reconnecting', text: 'Reconnecting…' })
    clearTimeout(this.#life.timer)
    this.#connect()
  }

  /** Reports what happens from now on. Leaving the loop closes the watch. */
  [Symbol.asyncIterator]() {
    return this.#life.iterate()
  }

  #connect() {
    const seen = { isOpen: false, liveAt: Infinity }
    this.#life.expectStart(() => this.#lost(1006, '', seen))
    this.#life.line = TRANSPORTS[this.#transports[this.#way]](this.#id, this.#task?.version, this.#options, {
      onOpen: () => (seen.isOpen = true),
      onSign: () => this.#life.hear(),
      onMessage: (message) => {
        this.#life.hear()
        if (seen.liveAt === Infinity) {
          this.#life.expectSigns((silentMs) => this.#lost(1006, '', { ...seen, silentMs }))
          seen.liveAt = performance.now()
          this.#muteCount = 0
          this.#life.show({ state: 'live', text: 'Live' })
        }
        if (!this.#life.isEnded) this.#receive(message, seen)
      },
      onClose: (code, reason) => this.#lost(code, reason, seen),
    })
  }

  #receive(message, seen) {
    if (!message) return this.#lost(1006, '', seen)
    if (message.type === 'log') return this.#receiveLine(message)
    const before = this.#task
    const { task, outcome } = fold(before, message)
    if (outcome === 'gap') return this.#refill(seen)
    if (outcome === 'stale' || task === before) return
    this.#task = task
    const isOver = isFinal(task.status)
    if (isOver) this.#resolve(task) // before a callback that may close the watch
    const isRepeated = message.type === 'snapshot' && !message.reset && task.version === before?.version
    if (!isRepeated) {
      this.#life.failureCount = 0
      this.#life.report({ task, message })
    }
    // Of a task that has ended before, the lines follow its snapshot; then the server closes.
    if (isOver && !(this.#options.logs && message.type === 'snapshot')) this.#finish()
  }

  /** After a reconnect the server begins with the latest lines again. */
  #receiveLine(message) {
    if (message.line.seq <= this.#lastLine) return
    this.#lastLine = message.line.seq
    this.#life.report({ task: this.#task, message })
  }

  /** At once the first time; a server that answers with the same gap again is given the usual pauses. */
  #refill(seen) {
    if (this.#life.failureCount > 0) return this.#lost(1006, '', seen)
    this.#life.failureCount = 1
    this.#life.disconnect()
    this.#connect()
  }

  async #lost(code, reason, seen) {
    this.#life.disconnect()
    if (this.#task && isFinal(this.#task.status)) return this.#finish()
    if (code !== 1000 && !shouldReconnect(code)) return this.#stop(code, STOP_REASONS[code] ?? reason)
    const refusal = seen.isOpen ? undefined : await this.#askForRefusal()
    if (this.#life.isEnded) return
    if (refusal?.stopCode) return this.#stop(refusal.stopCode, refusal.title)
    if (seen.liveAt === Infinity && !isOfTaskwire(code)) this.#countMute(seen.isOpen || refusal.isAnswered)
    // A close with 1000 that left the task unfinished was not the end of the stream: resume like after any other.
    if (performance.now() - seen.liveAt > GOOD_CONNECTION_MS) this.#life.failureCount = 0
    const isAway = refusal !== undefined && !refusal.isAnswered
    this.#life.reconnectLater(reason, () => this.#connect(), (delayMs) => {
      const when = delayMs < 1000 ? '' : ` in ${Math.round(delayMs / 1000)} s`
      if (isAway) return { state: 'away', text: `Server away, trying again${when}…` }
      return { state: 'reconnecting', text: `${describeSilence(seen.silentMs)}Reconnecting${when}…` }
    })
  }

  /** Nothing came. While the server is away no fallback would do better; one that is in use is left all the same. */
  #countMute(isServerThere) {
    if (!isServerThere && this.#way === 0) return
    this.#muteCount++
    if (this.#muteCount < MAX_MUTE_ATTEMPTS) return
    this.#way = (this.#way + 1) % this.#transports.length
    this.#muteCount = 0
  }

  /** Why the upgrade did not happen, as far as a plain request can tell. */
  async #askForRefusal() {
    try {
      const url = urlOf(this.#options.baseUrl, `api/tasks/${encodeURIComponent(this.#id)}`)
      const request = this.#options.fetch ?? fetch
      const response = await request(url, { signal: AbortSignal.timeout(Math.min(REFUSAL_DEADLINE_MS, this.#options.connectMs ?? REFUSAL_DEADLINE_MS)) })
      const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json')
      if (!isProblem) return { isAnswered: response.ok }
      const { status, title } = readProblem(response, await response.json())
      return { isAnswered: status < 500, stopCode: STOP_CODE_OF_HTTP_STATUS[status], title }
    } catch {
      return { isAnswered: false }
    }
  }

  #stop(code, text) {
    const error = new WatchError(code, text || `The server ended the stream (${code})`)
    this.#reject(error)
    this.#life.end({ state: 'stopped', text: error.message }, error)
  }

  #finish() {
    this.#resolve(this.#task)
    this.#life.end({ state: 'finished', text: 'Finished: nothing more to come' })
  }
}

/**
 * One socket for a selection of tasks. The promise is that of a watch, for each task; a lost connection is made anew, with
 * the version of every task that is held and has not ended.
 */
class TasksWatch {
  #life
  #selection
  #options
  #tasks = new Map()

  constructor(selection, options) {
    this.#selection = selection
    this.#options = options
    if (!(options.WebSocket ?? globalThis.WebSocket)) throw new TypeError('There is no WebSocket here: pass one')
    this.#life = new Lifeline(options, () => this.close())
    if (options.signal?.aborted) this.close()
    else this.#connect()
  }

  /** By id: each task of which something was told, as it stands. */
  get tasks() {
    return this.#tasks
  }

  get connection() {
    return this.#life.connection
  }

  close() {
    this.#life.end({ state: 'closed', text: 'Closed' })
  }

  [Symbol.asyncIterator]() {
    return this.#life.iterate()
  }

  #connect() {
    this.#life.expectStart(() => this.#lost(1006, ''))
    const ways = {
      onOpen: () => this.#life.line.send(this.#request('all', this.#selection)),
      onMessage: (message) => {
        this.#life.hear()
        this.#receive(message)
      },
      onClose: (code, reason) => this.#lost(code, reason),
    }
    this.#life.line = openSocket(urlOf(this.#options.baseUrl, 'ws/tasks'), this.#options, ways)
  }

  /** With the version of each task that is held: of those named, or of the newest, which the server tells of first. */
  #request(id, selection) {
    const named = selection.ids && new Set(selection.ids.map((name) => name.toLowerCase()))
    const held = this.#held().filter((task) => !named || named.has(task.id)).sort((a, b) => (a.id < b.id ? 1 : -1))
    return { type: 'subscribe', id, selection, since: Object.fromEntries(held.slice(0, MAX_IDS).map((task) => [task.id, task.version])) }
  }

  /** Those that have not ended. */
  #held() {
    return [...this.#tasks.values()].filter((task) => !isFinal(task.status))
  }

  #receive(message) {
    if (!message) return this.#lost(1006, '')
    if (message.type === 'refused' && message.code !== 'unavailable') return this.#stop(4500, message.detail)
    if (message.type === 'refused') return this.#lost(1006, '')
    if (message.type === 'subscribed') return this.#begin(message)
    const before = this.#tasks.get(message.taskId)
    const { task, outcome } = fold(before, message)
    if (outcome === 'gap') return this.#lost(1006, '')
    if (outcome === 'stale' || task === before) return
    this.#tasks.set(task.id, task)
    const isRepeated = message.type === 'snapshot' && !message.reset && task.version === before?.version
    if (!isRepeated) this.#life.report({ task, message })
  }

  /** Tasks that are held and no longer selected may have gone on meanwhile: they are asked for by id. */
  #begin({ id }) {
    this.#life.expectSigns((silentMs) => this.#lost(1006, '', silentMs))
    this.#life.failureCount = 0
    this.#life.show({ state: 'live', text: 'Live' })
    if (id !== 'all' || this.#selection.ids) return
    const ids = this.#held().map((task) => task.id)
    for (let start = 0; start < ids.length; start += MAX_IDS) {
      this.#life.line.send(this.#request(`held ${start}`, { ids: ids.slice(start, start + MAX_IDS) }))
    }
  }

  #lost(code, reason, silentMs) {
    this.#life.disconnect()
    if (!shouldReconnect(code) && code !== 1000) return this.#stop(code, STOP_REASONS[code] ?? reason)
    const text = `${describeSilence(silentMs)}Reconnecting…`
    this.#life.reconnectLater(reason, () => this.#connect(), () => ({ state: 'reconnecting', text }))
  }

  #stop(code, text) {
    const error = new WatchError(code, text || `The server ended the stream (${code})`)
    this.#life.end({ state: 'stopped', text: error.message }, error)
  }
}

/**
 * The ways to a stream. Each opens one connection that begins after `since` and tells of it; after `close` it tells of
 * nothing any more.
 */
const TRANSPORTS = { websocket: openWebSocket, events: openEvents, poll: openPoll }

function openWebSocket(id, since, options, line) {
  return openSocket(urlOf(options.baseUrl, `ws/tasks/${encodeURIComponent(id)}${toQuery(since, options)}`), options, line)
}

function toQuery(since, { logs }) {
  const query = new URLSearchParams({ ...(since !== undefined && { since }), ...(logs && { logs: 1 }) })
  return query.size > 0 ? `?${query}` : ''
}

/** For `live*.js` too. */
export function openSocket(address, options, { onOpen, onMessage, onClose }) {
  const url = new URL(address)
  url.protocol = url.protocol.replace('http', 'ws')
  const socket = new (options.WebSocket ?? WebSocket)(url.href)
  socket.onopen = onOpen
  socket.onmessage = (event) => onMessage(parse(event.data))
  socket.onclose = (event) => onClose(event.code, event.reason)
  socket.onerror = () => {} // `close` follows, and says it
  return {
    send: (message) => socket.send(JSON.stringify(message)),
    close(isPatient) {
      socket.onopen = socket.onmessage = socket.onclose = null
      // A browser warns on its console of a socket that is closed before it has opened.
      if (isPatient && socket.readyState === CONNECTING) socket.onopen = () => socket.close()
      else socket.close()
    },
  }
}

/** Server-sent events over `fetch`, because an EventSource hides why it fails and reconnects as it likes. */
function openEvents(id, since, options, line) {
  return openRequests(line, async ({ onOpen, onSign, onMessage }, signal) => {
    const url = urlOf(options.baseUrl, `api/tasks/${encodeURIComponent(id)}/events${toQuery(since, options)}`)
    const response = await (options.fetch ?? fetch)(url, { headers: { accept: 'text/event-stream' }, cache: 'no-store', signal })
    if (!response.ok) return ''
    onOpen()
    if (response.status === 204) return ''
    let text = ''
    let retryMs = ''
    const reader = response.body.getReader()
    const decoder = new TextDecoder()
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return retryMs
      onSign()
      text += decoder.decode(value, { stream: true })
      const blocks = text.split('\n\n')
      text = blocks.pop()
      for (const block of blocks) {
        const data = /^data: ?(.*)$/m.exec(block)?.[1]
        // The pause asked for last is the one of a server that restarts; that of the opening is not for us.
        if (data === undefined) retryMs = /^retry: ?(\d+)$/m.exec(block)?.[1] ?? retryMs
        else {
          retryMs = ''
          onMessage(parse(data))
        }
      }
    }
  })
}

/** Long polls: the task again and again, as soon as its version has changed; what lay between is asked for. */
function openPoll(id, since, options, line) {
  return openRequests(line, async ({ onOpen, onMessage }, signal) => {
    const path = `api/tasks/${encodeURIComponent(id)}`
    const read = async (url) => {
      const response = await (options.fetch ?? fetch)(urlOf(options.baseUrl, url), { headers: { accept: 'application/json' }, cache: 'no-store', signal })
      return response.ok ? response.json() : undefined
    }
    const waitSeconds = Math.max(1, Math.min(MAX_POLL_SECONDS, Math.floor(((options.silenceMs ?? MAX_SILENCE_MS) / 1_000) * 0.8)))
    for (let version = since; ; ) {
      const task = await read(version === undefined ? path : `${path}?wait=${waitSeconds}&since=${version}`)
      if (task === undefined) return ''
      onOpen()
      if (version !== undefined && task.version > version + 1) {
        const { items = [] } = (await read(`${path}/events`)) ?? {}
        const between = items.filter((item) => item.version > version && item.version < task.version)
        for (const item of between) onMessage({ type: 'transition', taskId: task.id, ...item })
      }
      onMessage({ type: 'snapshot', taskId: task.id, status: task.status, version: task.version, task })
      version = task.version
    }
  })
}

/** `follow` resolves when the server has ended what it follows, with the pause it wants. */
function openRequests(line, follow) {
  const controller = new AbortController()
  const { signal } = controller
  const whileOpen = (tell) => (value) => signal.aborted || tell(value)
  follow({ onOpen: whileOpen(line.onOpen), onSign: whileOpen(line.onSign), onMessage: whileOpen(line.onMessage) }, signal).then(
    (retryMs) => signal.aborted || line.onClose(1006, retryMs && `retryAfterMs=${retryMs}`),
    () => signal.aborted || line.onClose(1006, ''),
  )
  return { close: () => controller.abort() }
}

function describeSilence(silentMs) {
  return silentMs === undefined ? '' : `Nothing heard for ${Math.round(silentMs / 1_000)} s. `
}

/** A callback that throws is its owner's bug: it surfaces as an uncaught error and leaves the watch as it is. */
function callBack(callback, argument) {
  try {
    callback?.(argument)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}

/** For `live*.js` too. */
export function parse(data) {
  try {
    return JSON.parse(data)
  } catch {
    return undefined
  }
}

function backoffMs(failureCount, { minDelayMs = MIN_DELAY_MS, maxDelayMs = MAX_DELAY_MS }) {
  return Math.random() * Math.min(maxDelayMs, minDelayMs * 2 ** failureCount)
}

/** Whether only Taskwire's server closes with this code: the way to it is open, whatever came of it. */
function isOfTaskwire(code) {
  return code === 1012 || code >= 4000
}

/** A server that restarts names the pause it wants in the close reason: `retryAfterMs=1500`. */
function retryAfterMs(reason) {
  const found = /\bretryAfterMs=(\d+)/.exec(reason)
  return found ? Math.min(Number(found[1]), MAX_RETRY_AFTER_MS) : undefined
}

/** For `live*.js` too. */
export function urlOf(baseUrl = globalThis.location?.origin, path) {
  if (!baseUrl) throw new TypeError('Outside a browser, pass baseUrl: the address of the server')
  return new URL(path, baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`).href
}
