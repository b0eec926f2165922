/**
 * The clock of a run in memory: it advances only when the handler sleeps, and then at once. The time limits of the type
 * apply to it as they do in a worker.
 */
import type { TimeLimits } from '../definitions/definition.js'
import type { LimitCallbacks } from '../tasks/attempt/run-limits.js'

export interface TestClock {
  /** Advances the clock, at most to the limit that ends the run. */
  advance(milliseconds: number): void
  /** A heartbeat of the handler. */
  alive(): void
}

export function createTestClock(
  { softMs = Infinity, hardMs = Infinity, heartbeatMs = Infinity }: TimeLimits,
  limits: LimitCallbacks,
): TestClock {
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
