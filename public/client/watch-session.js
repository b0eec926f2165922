/**
 * The part shared by all watches: the state of the connection, the reports to iterators and callbacks, and a single
 * end.
 */
import { retryAfterMs } from './closes.js'
import { urlOf } from './connections.js'
import { MAX_SILENCE_MS } from '../protocol.js'

const MIN_DELAY_MS = 250
const MAX_DELAY_MS = 10_000
const CONNECT_DEADLINE_MS = 10_000
/**
 * A timer that fires this late was held back together with everything else: the machine slept, or the tab is in the
 * background.
 */
const LATE_TIMER_MS = 1_000
/** How long messages that arrived meanwhile get to be processed. */
const WAKE_GRACE_MS = 5_000

/** Messages of which only the latest counts. */
const HINTS = new Set(['progress', 'waiting'])

/** Changes on their way to iterators; each reader has its own inbox. */
class Reports {
  #inboxes = new Set()
  #isEnded = false
  #error

  add(change) {
    for (const inbox of this.#inboxes) {
      const last = inbox.changes.at(-1)?.message
      // A reader that is slower than the stream receives every transition, but only the latest progress, the latest
      // reason to wait and the latest list.
      const isOvertaken =
        'view' in change ||
        (HINTS.has(change.message.type) && last?.type === change.message.type && last.taskId === change.message.taskId)
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

  /** Iterates over the changes added from now on; calls `onLeave` when the reader leaves. */
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

export class WatchSession {
  /** The open one, if there is one. */
  transport
  /** The timer of a reconnect delay, or of the wait for data from the server. */
  timer
  failureCount = 0
  isEnded = false
  #connection = { state: 'connecting', text: 'Connecting…' }
  /** When the server last sent data, by the wall clock; undefined before it did. */
  #heardAt
  /** The same by the monotonic clock. */
  #heardAtMs = 0
  #options
  #onAbort
  #reports = new Reports()

  /** `close` ends the watch: it is called when the caller's signal aborts, or when a reader leaves its loop. */
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

  /** The server has sent something, whatever it is. */
  hear() {
    this.#heardAtMs = performance.now()
    this.#heardAt = Date.now()
  }

  /** The first message of a new connection must arrive in time; otherwise `onSilence` is called. */
  expectStart(onSilence) {
    const startedAtMs = performance.now()
    this.#watchSilence(() => startedAtMs, this.#options.connectMs ?? CONNECT_DEADLINE_MS, onSilence)
  }

  /** From now on data must keep arriving; otherwise `onSilence` is called with the length of the silence. */
  expectSigns(onSilence) {
    this.#watchSilence(() => this.#heardAtMs, this.#options.silenceMs ?? MAX_SILENCE_MS, onSilence)
  }

  /**
   * Data does not reset the timer, because there may be thousands of messages a second. When the timer fires, it checks
   * the age of the last one.
   */
  #watchSilence(since, maxMs, onSilence, graceEndsMs) {
    clearTimeout(this.timer)
    const dueMs = graceEndsMs ?? since() + maxMs
    this.timer = setTimeout(
      () => {
        const nowMs = performance.now()
        const isLate = nowMs - dueMs > Math.min(LATE_TIMER_MS, maxMs / 4)
        if (nowMs - since() < maxMs) this.#watchSilence(since, maxMs, onSilence)
        else if (isLate && graceEndsMs === undefined)
          this.#watchSilence(since, maxMs, onSilence, nowMs + Math.min(WAKE_GRACE_MS, maxMs / 2))
        else onSilence(nowMs - since())
      },
      Math.max(0, dueMs - performance.now()),
    )
  }

  disconnect({ isPatient = false } = {}) {
    clearTimeout(this.timer)
    this.transport?.close(isPatient)
    this.transport = undefined
  }

  /**
   * Reconnects after the delay that the server requested, or after a growing one, and reports the state returned by
   * `describe`.
   */
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

/** A callback that throws is a bug of the caller: it surfaces as an uncaught error and leaves the watch unchanged. */
function callBack(callback, argument) {
  try {
    callback?.(argument)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}

function backoffMs(failureCount, { minDelayMs = MIN_DELAY_MS, maxDelayMs = MAX_DELAY_MS }) {
  return Math.random() * Math.min(maxDelayMs, minDelayMs * 2 ** failureCount)
}

export function describeSilence(silentMs) {
  return silentMs === undefined ? '' : `No data for ${Math.round(silentMs / 1_000)} s. `
}
