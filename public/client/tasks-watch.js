import { BROKEN, CLOSES, isFinal, isPassingRefusal, MAX_SELECTED_IDS, shouldReconnect } from '../protocol.js'
import { STOP_REASONS, WatchError } from './closes.js'
import { openSocket, urlOf } from './connections.js'
import { fold } from './fold.js'
import { describeSilence, WatchSession } from './watch-session.js'

/**
 * One socket for a selection of tasks. Each task gets the guarantees of a watch; after a lost connection, it subscribes
 * again with the version of every held task that has not ended.
 */
export class TasksWatch {
  #session
  #selection
  #options
  #tasks = new Map()

  constructor(selection, options) {
    this.#selection = selection
    this.#options = options
    if (!(options.WebSocket ?? globalThis.WebSocket))
      throw new TypeError('There is no WebSocket in this environment: pass one')
    this.#session = new WatchSession(options, () => this.close())
    if (options.signal?.aborted) this.close()
    else this.#connect()
  }

  /** By id: the current state of each task received. */
  get tasks() {
    return this.#tasks
  }

  get connection() {
    return this.#session.connection
  }

  close() {
    this.#session.end({ state: 'closed', text: 'Closed' })
  }

  [Symbol.asyncIterator]() {
    return this.#session.iterate()
  }

  #connect() {
    this.#session.expectStart(() => this.#lost(BROKEN, ''))
    const listener = {
      onOpen: () => this.#session.transport.send(this.#request('all', this.#selection)),
      onMessage: (message) => {
        this.#session.hear()
        this.#receive(message)
      },
      onClose: (code, reason) => this.#lost(code, reason),
    }
    this.#session.transport = openSocket(urlOf(this.#options.baseUrl, 'ws/tasks'), this.#options, listener)
  }

  /** With the version of each held task: of those named, or of the newest, which the server sends first. */
  #request(id, selection) {
    const named = selection.ids && new Set(selection.ids.map((name) => name.toLowerCase()))
    const held = this.#held()
      .filter((task) => !named || named.has(task.id))
      .sort((a, b) => (a.id < b.id ? 1 : -1))
    return {
      type: 'subscribe',
      id,
      selection,
      since: Object.fromEntries(held.slice(0, MAX_SELECTED_IDS).map((task) => [task.id, task.version])),
    }
  }

  /** The tasks that have not ended. */
  #held() {
    return [...this.#tasks.values()].filter((task) => !isFinal(task.status))
  }

  #receive(message) {
    if (!message) return this.#lost(BROKEN, '')
    if (message.type === 'refused' && !isPassingRefusal(message.code))
      return this.#stop(CLOSES.protocolError.code, message.detail)
    if (message.type === 'refused') return this.#lost(BROKEN, '')
    if (message.type === 'subscribed') return this.#begin(message)
    const before = this.#tasks.get(message.taskId)
    const { task, outcome } = fold(before, message)
    if (outcome === 'gap') return this.#lost(BROKEN, '')
    if (outcome === 'stale' || task === before) return
    this.#tasks.set(task.id, task)
    const isRepeated = message.type === 'snapshot' && !message.reset && task.version === before?.version
    if (!isRepeated) this.#session.report({ task, message })
  }

  /** Held tasks that are no longer selected may have changed meanwhile: they are requested by id. */
  #begin({ id }) {
    this.#session.expectSigns((silentMs) => this.#lost(BROKEN, '', silentMs))
    this.#session.failureCount = 0
    this.#session.show({ state: 'live', text: 'Live' })
    if (id !== 'all' || this.#selection.ids) return
    const ids = this.#held().map((task) => task.id)
    for (let start = 0; start < ids.length; start += MAX_SELECTED_IDS) {
      this.#session.transport.send(this.#request(`held ${start}`, { ids: ids.slice(start, start + MAX_SELECTED_IDS) }))
    }
  }

  #lost(code, reason, silentMs) {
    this.#session.disconnect()
    if (!shouldReconnect(code) && code !== CLOSES.ended.code) return this.#stop(code, STOP_REASONS[code] ?? reason)
    const text = `${describeSilence(silentMs)}Reconnecting…`
    this.#session.reconnectLater(
      reason,
      () => this.#connect(),
      () => ({ state: 'reconnecting', text }),
    )
  }

  #stop(code, text) {
    const error = new WatchError(code, text || `The server ended the stream (${code})`)
    this.#session.end({ state: 'stopped', text: error.message }, error)
  }
}
