/**
 * What a handler in a process of its own says about its progress, thinned out before it travels: of the reports of a moment the latest
 * is sent. Each message costs the worker, which runs other attempts too, and a handler may report in a loop.
 *
 * The time is looked at with each report, because a handler that blocks its event loop reports as well: no timer would fire.
 */
import type { ProgressReport } from '../../store/attempts/progress.js'
import type { FromChild } from './messages.js'

/** The least time between two reports, in milliseconds: as often as the worker writes them. */
export const REPORT_PAUSE_MS = 50

export interface Reporter {
  progress(report: ProgressReport): void
  /** The handler gives a sign of life. */
  alive(): void
  /** Sends a message; what was reported before it goes first. */
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
