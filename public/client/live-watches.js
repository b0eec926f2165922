/** The watches of `live.js`: a list, or one task. They hold and report what the connection receives. */
import { CLOSES, compareRows, isFinal } from '../protocol.js'
import { STOP_REASONS, WatchError } from './closes.js'
import { fold, foldWaiting } from './fold.js'
import { WatchSession } from './watch-session.js'

/** The part shared by both kinds of watches. The connection assigns `id`. */
class Watch {
  id
  session
  host

  constructor(options, host) {
    this.host = host
    this.session = new WatchSession(options, () => this.close())
  }

  get connection() {
    return this.session.connection
  }

  close() {
    this.finish({ state: 'closed', text: 'Closed' })
  }

  stop(code, text) {
    const error = new WatchError(code, text || `The server ended the stream (${code})`)
    this.finish({ state: 'stopped', text: error.message }, error)
  }

  finish(connection, error) {
    this.session.end(connection, error)
    this.host.leave(this)
  }

  [Symbol.asyncIterator]() {
    return this.session.iterate()
  }
}

export class ListWatch extends Watch {
  view
  #list
  /** The server's name for the list. */
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
    if (this.session.isEnded) return
    this.#list = list
    this.view = undefined
    this.#name = undefined
    this.host.change(this, this.id)
  }

  receive(message) {
    if (message.id === this.id && message.type === 'refused')
      return this.stop(CLOSES.protocolError.code, message.detail)
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
    this.view = {
      items: [...this.#rows.values()].sort(compareRows(this.#list.filter ?? {})),
      nextCursor,
      newer,
      counts,
    }
    this.session.report({ view: this.view, message })
  }
}

function sameRow(held, row) {
  return held !== undefined && JSON.stringify(held) === JSON.stringify(row) ? held : row
}

export class LiveTaskWatch extends Watch {
  task
  waitingFor = null
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
    this.finished.catch(() => {}) // awaiting it is optional
    if (options.signal?.aborted) this.close()
    else if (this.task && isFinal(this.task.status)) this.#end()
  }

  request() {
    return {
      type: 'subscribe',
      id: this.id,
      selection: { ids: [this.taskId] },
      ...(this.task && { since: { [this.taskId]: this.task.version } }),
    }
  }

  retryNow() {}

  receive(message) {
    if (message.type === 'subscribed' && message.missing?.includes(this.taskId))
      return this.stop(CLOSES.notFound.code, STOP_REASONS[CLOSES.notFound.code])
    if (message.type === 'refused' && message.id === this.id)
      return this.stop(CLOSES.protocolError.code, message.detail)
    if (message.taskId !== this.taskId) return
    this.waitingFor = foldWaiting(this.waitingFor, message)
    if (message.type === 'waiting') {
      if (this.task) this.session.report({ task: this.task, message })
      return
    }
    const before = this.task
    const { task, outcome } = fold(before, message)
    if (outcome === 'gap') return this.host.reconnect()
    if (outcome === 'stale' || task === before) return
    this.task = task
    if (isFinal(task.status)) this.#resolve(task) // before a callback that may close the watch
    const isRepeated = message.type === 'snapshot' && !message.reset && task.version === before?.version
    if (!isRepeated) this.session.report({ task, message })
    if (isFinal(task.status)) this.#end()
  }

  finish(connection, error) {
    this.#reject(error ?? new WatchError(CLOSES.ended.code, 'The watch was closed'))
    super.finish(connection, error)
  }

  #end() {
    this.#resolve(this.task)
    super.finish({ state: 'finished', text: 'Finished: no more updates' })
  }
}
