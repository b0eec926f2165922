/**
 * One connection for all that a page watches: lists and single tasks, over `/ws/tasks`, or over server-sent events where WebSockets are
 * blocked. Part of `task-stream.js`, which exports it.
 *
 * Each watch has a subscription of its own, under an id of its own. A lost connection is made anew: lists begin with the whole list
 * again, tasks go on after the version that is held. A connection from which nothing was heard for 30 s counts as lost: over a WebSocket
 * the server is asked for a sign after 10 s, over server-sent events it gives one every 15 s.
 */
import { fold, isFinal, Lifeline, openSocket, parse, shouldReconnect, STOP_REASONS, urlOf, WatchError } from './task-stream.js'

const CHECK_MS = 2_000
const PING_AFTER_MS = 10_000
const MAX_SILENCE_MS = 30_000
/** A connection without watches stays so long, for the next. */
const LINGER_MS = 1_000
/** A transport that brought nothing so often is left for the next. */
const MAX_MUTE_ATTEMPTS = 2
const PROBE_DEADLINE_MS = 5_000
/** How many tasks a stream of server-sent events names. */
const MAX_IDS_IN_URL = 200

export function openLive(options = {}) {
  return new Live(options)
}

export function watchList(list = {}, options = {}) {
  const live = new Live({ ...options, onConnection: undefined, onChange: undefined })
  const { onChange, onConnection, signal } = options
  return live.watchList(list, { onChange, onConnection, signal })
}

class Live {
  #connection = { state: 'connecting', text: 'Connecting…' }
  /** When the server was heard last, by the clock that people read; undefined before it was. */
  #heardAt
  #options
  #transports
  #way = 0
  #muteCount = 0
  #failureCount = 0
  #watches = new Map()
  #nextId = 1
  #link
  #timer
  #checks
  #isClosed = false

  constructor(options) {
    urlOf(options.baseUrl, '')
    this.#options = options
    this.#transports = (options.transports ?? Object.keys(LINKS)).filter((name) => name !== 'websocket' || (options.WebSocket ?? globalThis.WebSocket))
    if (this.#transports.length === 0) throw new TypeError('There is no WebSocket here: pass one, or allow other transports')
    options.signal?.addEventListener('abort', () => this.close())
    if (options.signal?.aborted) this.close()
  }

  get connection() {
    return { ...this.#connection, ...(this.#heardAt && { heardAt: this.#heardAt }) }
  }

  watchList(list = {}, options = {}) {
    return this.#add(new ListWatch(list, this.#optionsOf(options), this.#host))
  }

  watchTask(id, options = {}) {
    // A connection has one stream a task: who joins later begins where the first one stands.
    const other = [...this.#watches.values()].find((watch) => watch.taskId === id.toLowerCase())
    return this.#add(new LiveTaskWatch(id, { task: other?.task, ...this.#optionsOf(options) }, this.#host))
  }

  retryNow() {
    if (this.connection.state !== 'away') return
    clearTimeout(this.#timer)
    this.#connect()
  }

  close() {
    this.#isClosed = true
    for (const watch of [...this.#watches.values()]) watch.close()
    this.#disconnect()
    this.#show({ state: 'closed', text: 'Closed' })
  }

  #optionsOf(options) {
    return { ...options, baseUrl: this.#options.baseUrl }
  }

  /** What a watch asks of its connection. */
  #host = {
    change: (watch, oldId) => {
      this.#watches.delete(oldId)
      this.#watches.set((watch.id = `w${this.#nextId++}`), watch)
      this.#link?.changed(oldId, watch)
    },
    leave: (watch) => {
      if (!this.#watches.delete(watch.id)) return
      this.#link?.changed(watch.id, undefined)
      if (this.#watches.size === 0) this.#lingerThenDisconnect()
    },
    reconnect: () => this.#lost(1006, '', { isHeard: true }),
  }

  #add(watch) {
    if (watch.life.isEnded) return watch
    if (this.#isClosed) {
      watch.close()
      return watch
    }
    this.#watches.set((watch.id = `w${this.#nextId++}`), watch)
    watch.life.show(this.connection)
    if (this.#link) this.#link.changed(undefined, watch)
    else if (!this.#timer) this.#connect()
    return watch
  }

  #lingerThenDisconnect() {
    setTimeout(() => {
      if (this.#watches.size === 0) this.#disconnect()
    }, LINGER_MS)
  }

  #disconnect() {
    clearTimeout(this.#timer)
    clearInterval(this.#checks)
    this.#timer = undefined
    this.#link?.close()
    this.#link = undefined
  }

  #connect() {
    this.#disconnect()
    const seen = { isHeard: false, heardAt: performance.now() }
    const hear = () => {
      seen.heardAt = performance.now()
      this.#heardAt = Date.now()
    }
    this.#link = LINKS[this.#transports[this.#way]](this.#options, () => [...this.#watches.values()], {
      onSign: hear,
      onMessage: (message) => {
        hear()
        if (!message) return this.#lost(1006, '', seen)
        if (!seen.isHeard) this.#begin(seen)
        this.#receive(message)
      },
      onClose: (code, reason) => this.#lost(code, reason, seen),
    })
    this.#checks = setInterval(() => {
      const silentMs = performance.now() - seen.heardAt
      if (silentMs > MAX_SILENCE_MS) this.#lost(1006, '', seen)
      else if (silentMs > PING_AFTER_MS) this.#link?.ping()
    }, CHECK_MS)
  }

  #begin(seen) {
    seen.isHeard = true
    this.#muteCount = 0
    this.#failureCount = 0
    this.#show({ state: 'live', text: 'Live' })
  }

  #receive(message) {
    if (message.type === 'refused' && (message.code === 'unavailable' || message.code === 'overloaded')) return this.#lost(1006, '', { isHeard: true })
    for (const watch of [...this.#watches.values()]) watch.receive(message)
  }

  async #lost(code, reason, seen) {
    this.#disconnect()
    if (this.#isClosed || this.#watches.size === 0) return
    if (code !== 1000 && !shouldReconnect(code)) return this.#stop(code, STOP_REASONS[code] ?? reason)
    let isAway = false
    if (!seen.isHeard) {
      this.#timer = -1 // no other connection begins meanwhile
      isAway = !(await this.#isServerThere())
      if (this.#isClosed || this.#timer !== -1) return
      if (!isAway && ++this.#muteCount >= MAX_MUTE_ATTEMPTS) {
        this.#way = (this.#way + 1) % this.#transports.length
        this.#muteCount = 0
      }
    }
    const { minDelayMs = 250, maxDelayMs = 10_000 } = this.#options
    const asked = /\bretryAfterMs=(\d+)/.exec(reason)
    const delayMs = asked ? Math.min(Number(asked[1]), 60_000) : Math.random() * Math.min(maxDelayMs, minDelayMs * 2 ** this.#failureCount)
    this.#failureCount++
    const when = delayMs < 1000 ? '' : ` in ${Math.round(delayMs / 1000)} s`
    const state = isAway ? { state: 'away', text: `Server away, trying again${when}…` } : { state: 'reconnecting', text: `Reconnecting${when}…` }
    this.#show({ ...state, retryAt: Date.now() + delayMs })
    this.#timer = setTimeout(() => this.#connect(), delayMs)
  }

  async #isServerThere() {
    try {
      const response = await (this.#options.fetch ?? fetch)(urlOf(this.#options.baseUrl, 'healthz'), { signal: AbortSignal.timeout(PROBE_DEADLINE_MS) })
      return response.ok
    } catch {
      return false
    }
  }

  #stop(code, text) {
    for (const watch of [...this.#watches.values()]) watch.stop(code, text)
    this.#show({ state: 'stopped', text })
  }

  #show(connection) {
    this.#connection = connection
    for (const watch of this.#watches.values()) watch.life.show(connection)
    this.#options.onConnection?.(this.connection)
  }
}

/** What both kinds of watches have. `id` is given by the connection. */
class Watch {
  id
  life
  host

  constructor(options, host) {
    this.host = host
    this.life = new Lifeline(options, () => this.close())
  }

  get connection() {
    return this.life.connection
  }

  close() {
    this.finish({ state: 'closed', text: 'Closed' })
  }

  stop(code, text) {
    const error = new WatchError(code, text || `The server ended the stream (${code})`)
    this.finish({ state: 'stopped', text: error.message }, error)
  }

  finish(connection, error) {
    this.life.end(connection, error)
    this.host.leave(this)
  }

  [Symbol.asyncIterator]() {
    return this.life.iterate()
  }
}

class ListWatch extends Watch {
  view
  #list
  /** What the server calls the list. */
  #name
  #revision = 0
  #rows = new Map()

  constructor(list, options, host) {
    super(options, host)
    this.#list = list
    if (options.signal?.aborted) this.close()
  }

  get list() {
    return this.#list
  }

  request() {
    return { type: 'subscribe', id: this.id, list: this.#list }
  }

  change(list) {
    if (this.life.isEnded) return
    this.#list = list
    this.view = undefined
    this.#name = undefined
    this.host.change(this, this.id)
  }

  receive(message) {
    if (message.id === this.id && message.type === 'refused') return this.stop(4500, message.detail)
    if (message.id === this.id && message.type === 'subscribed') {
      this.#name = message.list
      this.#revision = 0
    } else if (message.list === this.#name && message.type === 'list') this.#replace(message)
    else if (message.list === this.#name && message.type === 'change') this.#apply(message)
  }

  #replace(message) {
    if (message.revision <= this.#revision) return
    // Rows that did not change stay the same objects.
    const held = this.#rows
    this.#rows = new Map(message.items.map((row) => [row.id, sameRow(held.get(row.id), row)]))
    this.#show(message, message)
  }

  #apply(message) {
    if (this.#revision === 0 || message.revision <= this.#revision) return
    for (const id of message.remove ?? []) this.#rows.delete(id)
    for (const row of message.upsert ?? []) this.#rows.set(row.id, row)
    this.#show(message, { ...this.view, ...message })
  }

  #show(message, { nextCursor, newer, counts }) {
    this.#revision = message.revision
    this.view = { items: [...this.#rows.values()].sort(orderOf(this.#list.filter)), nextCursor, newer, counts }
    this.life.report({ view: this.view, message })
  }
}

function sameRow(held, row) {
  return held !== undefined && JSON.stringify(held) === JSON.stringify(row) ? held : row
}

/** Newest first: by id, or by the time of creation where the filter has one. */
function orderOf({ createdAfter, createdBefore } = {}) {
  const byId = (a, b) => (a.id < b.id ? 1 : a.id > b.id ? -1 : 0)
  if (createdAfter === undefined && createdBefore === undefined) return byId
  return (a, b) => (a.createdAt < b.createdAt ? 1 : a.createdAt > b.createdAt ? -1 : byId(a, b))
}

class LiveTaskWatch extends Watch {
  task
  finished
  #resolve
  #reject

  constructor(taskId, options, host) {
    super(options, host)
    this.taskId = taskId.toLowerCase()
    this.task = options.task
    this.finished = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.finished.catch(() => {}) // whoever wants to know awaits it; nobody has to
    if (options.signal?.aborted) this.close()
    else if (this.task && isFinal(this.task.status)) this.#end()
  }

  request() {
    return { type: 'subscribe', id: this.id, selection: { ids: [this.taskId] }, ...(this.task && { since: { [this.taskId]: this.task.version } }) }
  }

  retryNow() {}

  receive(message) {
    if (message.type === 'subscribed' && message.missing?.includes(this.taskId)) return this.stop(4504, STOP_REASONS[4504])
    if (message.type === 'refused' && message.id === this.id) return this.stop(4500, message.detail)
    if (message.taskId !== this.taskId) return
    const before = this.task
    const { task, outcome } = fold(before, message)
    if (outcome === 'gap') return this.host.reconnect()
    if (outcome === 'stale' || task === before) return
    this.task = task
    if (isFinal(task.status)) this.#resolve(task) // before a callback that may close the watch
    const isRepeated = message.type === 'snapshot' && !message.reset && task.version === before?.version
    if (!isRepeated) this.life.report({ task, message })
    if (isFinal(task.status)) this.#end()
  }

  finish(connection, error) {
    this.#reject(error ?? new WatchError(1000, 'The watch was closed'))
    super.finish(connection, error)
  }

  #end() {
    this.#resolve(this.task)
    super.finish({ state: 'finished', text: 'Finished: nothing more to come' })
  }
}

/**
 * The ways to the server. `watchesOf` gives the watches; `changed(oldId, watch)` says that the subscription of this id is gone, and that the
 * watch has one to be made; either may be missing.
 */
const LINKS = { websocket: linkBySocket, events: linkByEvents }

function linkBySocket(options, watchesOf, { onMessage, onClose }) {
  let isOpen = false
  const socket = openSocket(urlOf(options.baseUrl, 'ws/tasks'), options, {
    onOpen() {
      isOpen = true
      for (const watch of watchesOf()) socket.send(watch.request())
    },
    onMessage,
    onClose,
  })
  return {
    changed(oldId, watch) {
      if (!isOpen) return
      if (oldId !== undefined) socket.send({ type: 'unsubscribe', id: oldId })
      if (watch !== undefined) socket.send(watch.request())
    },
    ping: () => isOpen && socket.send({ type: 'ping', id: 'ping' }),
    close: () => socket.close(true),
  }
}

/** A response carries one list and any number of tasks. When what is watched changes, it is asked for anew. */
function linkByEvents(options, watchesOf, { onSign, onMessage, onClose }) {
  let current = new AbortController()
  let timer

  function open() {
    clearTimeout(timer)
    current.abort()
    current = new AbortController()
    const { signal } = current
    const lists = watchesOf().filter((watch) => watch.list !== undefined)
    const tasks = watchesOf().filter((watch) => watch.taskId !== undefined).slice(0, MAX_IDS_IN_URL)
    const [first, ...others] = lists
    const groups = [...(first || tasks.length > 0 ? [{ list: first, tasks }] : []), ...others.map((list) => ({ list, tasks: [] }))]
    for (const group of groups) {
      follow(group, signal).then(
        (retryMs) => signal.aborted || onClose(1006, retryMs && `retryAfterMs=${retryMs}`),
        () => signal.aborted || onClose(1006, ''),
      )
    }
  }

  async function follow({ list, tasks }, signal) {
    const response = await (options.fetch ?? fetch)(urlOf(options.baseUrl, `api/tasks/events?${queryOf(list, tasks)}`), { headers: { accept: 'text/event-stream' }, cache: 'no-store', signal })
    if (response.status === 400) {
      const problem = await response.json().catch(() => ({}))
      for (const watch of list ? [list] : tasks) onMessage({ type: 'refused', id: watch.id, code: 'invalid_request', detail: problem.detail })
      return ''
    }
    if (!response.ok || response.status === 204) return ''
    return readEvents(response.body, { signal, onSign, onMessage: (message) => tell(message, list) })
  }

  function tell(message, list) {
    if (message?.type === 'subscribed') onMessage({ ...message, id: message.list === undefined ? undefined : list?.id })
    else onMessage(message)
  }

  open()
  return {
    changed() {
      clearTimeout(timer)
      timer = setTimeout(open)
    },
    ping() {},
    close() {
      clearTimeout(timer)
      current.abort()
    },
  }
}

function queryOf(list, tasks) {
  const { filter = {}, limit = 50, before } = list?.list ?? {}
  const query = new URLSearchParams(list ? { list: limit, ...filter, ...(before !== undefined && { cursor: before }) } : {})
  if (tasks.length > 0) {
    const versions = new Map(tasks.map(({ taskId, task }) => [taskId, task?.version ?? 0]))
    query.set('ids', [...versions.keys()].join())
    query.set('since', [...versions.values()].join())
  }
  return query
}

/** Resolves when the server has ended the response, with the pause it wants. */
async function readEvents(body, { signal, onSign, onMessage }) {
  let text = ''
  let retryMs = ''
  const reader = body.getReader()
  const decoder = new TextDecoder()
  for (;;) {
    const { value, done } = await reader.read()
    if (done || signal.aborted) return retryMs
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
        if (!signal.aborted) onMessage(parse(data))
      }
    }
  }
}
