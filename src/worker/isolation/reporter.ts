/**
 * Throttles the reports of a handler in a process of its own before they are sent: of several close together, only the
 * latest is sent. Each message costs the worker, which also runs other attempts, and a handler may report in a loop.
 *
 * The time is checked on each report rather than by a timer: a handler that blocks its event loop reports too, and no
 * timer would fire.
 */
import type { ProgressReport } from '../../store/attempts/progress.js'
import type { FromChild } from './messages.js'

/** The shortest time between two reports, in milliseconds: the interval at which the worker writes them. */
export const REPORT_PAUSE_MS = 50

export interface Reporter {
  progress(report: ProgressReport): void
  /** Sends a heartbeat of the handler. */
  alive(): void
  /** Sends a message, after any pending progress report. */
  send(message: FromChild): void
}

export function createReporter(send: (message: FromChild) => void): Reporter {
  let waiting: ProgressReport | undefined
  let timer: NodeJS.Timeout | undefined
  let reportedAtMs = -Infinity
  let aliveAtMs = -Infinity

  function flush(): void {
    clearTimeout(timer)
    timer = undefined
    if (waiting === undefined) return
    send({ type: 'progress', report: waiting })
    waiting = undefined
    reportedAtMs = performance.now()
  }

  return {
    progress(report) {
      waiting = report
      if (performance.now() - reportedAtMs >= REPORT_PAUSE_MS) flush()
      else timer ??= setTimeout(flush, REPORT_PAUSE_MS)
    },
    alive() {
      const nowMs = performance.now()
      if (nowMs - aliveAtMs < REPORT_PAUSE_MS) return
      aliveAtMs = nowMs
      send({ type: 'alive' })
    },
    send(message) {
      flush()
      send(message)
    },
  }
}
