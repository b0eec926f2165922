/**
 * The time of a run in memory: it passes only when the handler sleeps, and then at once. The time limits of the type hold in
 * it as they do in a worker.
 */
import type { TimeLimits } from '../definitions/definition.js'
import type { LimitCallbacks } from '../tasks/attempt/run-limits.js'

export interface TestClock {
  /** Lets so much time pass, up to the limit that ends the run, if there is one on the way. */
  advance(milliseconds: number): void
  /** A sign of life. */
  alive(): void
}

export function createTestClock({ softMs = Infinity, hardMs = Infinity, heartbeatMs = Infinity }: TimeLimits, limits: LimitCallbacks): TestClock {
  let nowMs = 0
  let aliveAtMs = 0
  let isSoftOver = false
  function endSoftly(): void {
    isSoftOver = true
    limits.onSoft()
  }

  return {
    alive() {
      aliveAtMs = nowMs
    },
    advance(milliseconds) {
      const until = nowMs + milliseconds
      const ends = [
        { atMs: isSoftOver ? Infinity : softMs, act: endSoftly },
        { atMs: aliveAtMs + heartbeatMs, act: limits.onSilence },
        { atMs: hardMs, act: limits.onHard },
      ]
      const first = ends.reduce((a, b) => (b.atMs < a.atMs ? b : a))
      nowMs = Math.min(until, first.atMs)
      if (first.atMs <= until) first.act()
    },
  }
}
