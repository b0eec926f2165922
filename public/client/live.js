/**
 * One connection for everything that a page watches: lists and single tasks, over `/ws/tasks`, or over server-sent
 * events where WebSockets are blocked. Exported by `task-stream.js`.
 *
 * Each watch has its own subscription, with its own id. After a lost connection, lists start again with the whole list,
 * and tasks continue after the version held. A connection without data for 30 s counts as lost: over a WebSocket the
 * client pings the server after 10 s, over server-sent events the server sends a heartbeat every 15 s.
 */
import { LINKS } from './live-links.js'
import { ListWatch, LiveTaskWatch } from './live-watches.js'
import { BROKEN, CLOSES, isPassingRefusal, MAX_SILENCE_MS, shouldReconnect } from '../protocol.js'
import { retryAfterMs, STOP_REASONS } from './closes.js'
import { chooseTransports, urlOf } from './connections.js'

const CHECK_MS = 2_000
const PING_AFTER_MS = 10_000
/** How long a connection without watches is kept for the next one. */
const LINGER_MS = 1_000
/** After this many attempts without data, the next transport is used. */
const MAX_MUTE_ATTEMPTS = 2
const PROBE_DEADLINE_MS = 5_000

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
  /** When the server last sent data, by the wall clock; undefined before it did. */
  #heardAt
  #options
  #transports
  #transportIndex = 0
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
    this.#transports = chooseTransports(LINKS, options)
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
    // A connection has one stream per task: a second watch starts where the first one is.
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

  /** What a watch calls on its connection. */
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
    reconnect: () => this.#lost(BROKEN, '', { isHeard: true }),
  }

  #add(watch) {
    if (watch.session.isEnded) return watch
    if (this.#isClosed) {
      watch.close()
      return watch
    }
    this.#watches.set((watch.id = `w${this.#nextId++}`), watch)
    watch.session.show(this.connection)
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
    this.#link = LINKS[this.#transports[this.#transportIndex]](this.#options, () => [...this.#watches.values()], {
      onSign: hear,
      onMessage: (message) => {
        hear()
        if (!message) return this.#lost(BROKEN, '', seen)
        if (!seen.isHeard) this.#begin(seen)
        this.#receive(message)
      },
      onClose: (code, reason) => this.#lost(code, reason, seen),
    })
    this.#checks = setInterval(() => {
      const silentMs = performance.now() - seen.heardAt
      if (silentMs > MAX_SILENCE_MS) this.#lost(BROKEN, '', seen)
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
    if (message.type === 'refused' && isPassingRefusal(message.code)) return this.#lost(BROKEN, '', { isHeard: true })
    for (const watch of [...this.#watches.values()]) watch.receive(message)
  }

  async #lost(code, reason, seen) {
    this.#disconnect()
    if (this.#isClosed || this.#watches.size === 0) return
    if (code !== CLOSES.ended.code && !shouldReconnect(code)) return this.#stop(code, STOP_REASONS[code] ?? reason)
    let isAway = false
    if (!seen.isHeard) {
      this.#timer = -1 // no other connection starts meanwhile
      isAway = !(await this.#isServerThere())
      if (this.#isClosed || this.#timer !== -1) return
      if (!isAway && ++this.#muteCount >= MAX_MUTE_ATTEMPTS) {
        this.#transportIndex = (this.#transportIndex + 1) % this.#transports.length
        this.#muteCount = 0
      }
    }
    const { minDelayMs = 250, maxDelayMs = 10_000 } = this.#options
    const delayMs = retryAfterMs(reason) ?? Math.random() * Math.min(maxDelayMs, minDelayMs * 2 ** this.#failureCount)
    this.#failureCount++
    const when = delayMs < 1_000 ? '' : ` in ${Math.round(delayMs / 1_000)} s`
    const state = isAway
      ? { state: 'away', text: `Server unreachable, retrying${when}…` }
      : { state: 'reconnecting', text: `Reconnecting${when}…` }
    this.#show({ ...state, retryAt: Date.now() + delayMs })
    this.#timer = setTimeout(() => this.#connect(), delayMs)
  }

  async #isServerThere() {
    try {
      const response = await (this.#options.fetch ?? fetch)(urlOf(this.#options.baseUrl, 'healthz'), {
        signal: AbortSignal.timeout(PROBE_DEADLINE_MS),
      })
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
    for (const watch of this.#watches.values()) watch.session.show(connection)
    this.#options.onConnection?.(this.connection)
  }
}
