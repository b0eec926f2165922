/** Follows one task until it ends, over any available transport. */
import { BROKEN, CLOSES, isFinal, shouldReconnect } from '../protocol.js'
import { isOfTaskwire, STOP_CODE_OF_HTTP_STATUS, STOP_REASONS, WatchError } from './closes.js'
import { chooseTransports, urlOf } from './connections.js'
import { fold, foldWaiting } from './fold.js'
import { readProblem } from './requests.js'
import { TRANSPORTS } from './transports.js'
import { describeSilence, WatchSession } from './watch-session.js'

/** After this many attempts without data, the next transport is used. */
const MAX_MUTE_ATTEMPTS = 2
const REFUSAL_DEADLINE_MS = 5_000
/** A connection without changes still counts as good if it lasted this long. */
const GOOD_CONNECTION_MS = 5_000

export class TaskWatch {
  #session
  #id
  #options
  #task
  #transports
  /** The index of the current transport. */
  #transportIndex = 0
  #muteCount = 0
  #waitingFor = null
  /** The last log line of the handler that was reported. */
  #lastLogLine = 0
  #resolve
  #reject

  constructor(id, options) {
    this.#id = id
    this.#options = options
    this.#task = options.task
    this.#transports = chooseTransports(TRANSPORTS, options)
    this.#session = new WatchSession(options, () => this.close())
    this.finished = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.finished.catch(() => {}) // awaiting it is optional
    if (options.signal?.aborted) this.close()
    else if (this.#task && isFinal(this.#task.status)) this.#finish()
    else this.#connect()
  }

  get task() {
    return this.#task
  }

  get waitingFor() {
    return this.#waitingFor
  }

  get connection() {
    return this.#session.connection
  }

  close() {
    this.#reject(new WatchError(CLOSES.ended.code, 'The watch was closed'))
    this.#session.end({ state: 'closed', text: 'Closed' })
  }

  /** If the server is known to be back there is no need to wait, unless it requested a delay. */
  retryNow() {
    if (this.#session.connection.state !== 'away') return
    this.#session.show({ state: 'reconnecting', text: 'Reconnecting…' })
    clearTimeout(this.#session.timer)
    this.#connect()
  }

  /** Reports everything that happens from now on. Leaving the loop closes the watch. */
  [Symbol.asyncIterator]() {
    return this.#session.iterate()
  }

  #connect() {
    const seen = { isOpen: false, liveAt: Infinity }
    this.#session.expectStart(() => this.#lost(BROKEN, '', seen))
    this.#session.transport = TRANSPORTS[this.#transports[this.#transportIndex]](
      this.#id,
      this.#task?.version,
      this.#options,
      {
        onOpen: () => (seen.isOpen = true),
        onSign: () => this.#session.hear(),
        onMessage: (message) => {
          this.#session.hear()
          if (seen.liveAt === Infinity) {
            this.#session.expectSigns((silentMs) => this.#lost(BROKEN, '', { ...seen, silentMs }))
            seen.liveAt = performance.now()
            this.#muteCount = 0
            this.#session.show({ state: 'live', text: 'Live' })
          }
          if (!this.#session.isEnded) this.#receive(message, seen)
        },
        onClose: (code, reason) => this.#lost(code, reason, seen),
      },
    )
  }

  #receive(message, seen) {
    if (!message) return this.#lost(BROKEN, '', seen)
    if (message.type === 'log') return this.#receiveLogLine(message)
    this.#waitingFor = foldWaiting(this.#waitingFor, message)
    if (message.type === 'waiting') return this.#session.report({ task: this.#task, message })
    const before = this.#task
    const { task, outcome } = fold(before, message)
    if (outcome === 'gap') return this.#refill(seen)
    if (outcome === 'stale' || task === before) return
    this.#task = task
    const isOver = isFinal(task.status)
    if (isOver) this.#resolve(task) // before a callback that may close the watch
    const isRepeated = message.type === 'snapshot' && !message.reset && task.version === before?.version
    if (!isRepeated) {
      this.#session.failureCount = 0
      this.#session.report({ task, message })
    }
    // If the task has already ended, its log lines follow the snapshot; then the server closes.
    if (isOver && !(this.#options.logs && message.type === 'snapshot')) this.#finish()
  }

  /** After a reconnect the server starts with the latest lines again. */
  #receiveLogLine(message) {
    if (message.line.seq <= this.#lastLogLine) return
    this.#lastLogLine = message.line.seq
    this.#session.report({ task: this.#task, message })
  }

  /** Immediately the first time; if the server repeats the same gap, with the usual delays. */
  #refill(seen) {
    if (this.#session.failureCount > 0) return this.#lost(BROKEN, '', seen)
    this.#session.failureCount = 1
    this.#session.disconnect()
    this.#connect()
  }

  async #lost(code, reason, seen) {
    this.#session.disconnect()
    if (this.#task && isFinal(this.#task.status)) return this.#finish()
    if (code !== CLOSES.ended.code && !shouldReconnect(code)) return this.#stop(code, STOP_REASONS[code] ?? reason)
    const refusal = seen.isOpen ? undefined : await this.#askForRefusal()
    if (this.#session.isEnded) return
    if (refusal?.stopCode) return this.#stop(refusal.stopCode, refusal.title)
    if (seen.liveAt === Infinity && !isOfTaskwire(code)) this.#countMute(seen.isOpen || refusal.isAnswered)
    // A close with `ended` that left the task unfinished was not the end of the stream: resume as after any other.
    if (performance.now() - seen.liveAt > GOOD_CONNECTION_MS) this.#session.failureCount = 0
    const isAway = refusal !== undefined && !refusal.isAnswered
    this.#session.reconnectLater(
      reason,
      () => this.#connect(),
      (delayMs) => {
        const when = delayMs < 1_000 ? '' : ` in ${Math.round(delayMs / 1_000)} s`
        if (isAway) return { state: 'away', text: `Server unreachable, retrying${when}…` }
        return { state: 'reconnecting', text: `${describeSilence(seen.silentMs)}Reconnecting${when}…` }
      },
    )
  }

  /**
   * No data arrived. While the server is away no fallback would do better, but a fallback that is already in use is
   * left anyway.
   */
  #countMute(isServerThere) {
    if (!isServerThere && this.#transportIndex === 0) return
    this.#muteCount++
    if (this.#muteCount < MAX_MUTE_ATTEMPTS) return
    this.#transportIndex = (this.#transportIndex + 1) % this.#transports.length
    this.#muteCount = 0
  }

  /** Why the upgrade failed, as far as a plain request can tell. */
  async #askForRefusal() {
    try {
      const url = urlOf(this.#options.baseUrl, `api/tasks/${encodeURIComponent(this.#id)}`)
      const request = this.#options.fetch ?? fetch
      const response = await request(url, {
        signal: AbortSignal.timeout(Math.min(REFUSAL_DEADLINE_MS, this.#options.connectMs ?? REFUSAL_DEADLINE_MS)),
      })
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
    this.#session.end({ state: 'stopped', text: error.message }, error)
  }

  #finish() {
    this.#resolve(this.#task)
    this.#session.end({ state: 'finished', text: 'Finished: no more updates' })
  }
}
