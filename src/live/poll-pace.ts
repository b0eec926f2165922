/**
 * How often a watched list polls PostgreSQL: at the wanted rate, or less often if the poll is slow, but never so rarely
 * that a reader of the list would notice.
 *
 * A poll that waited for a lock or a connection takes long without costing anything. It cannot be told from a poll that
 * is expensive, except that the poll before it was quick. So the cost is the smaller of the last two. A failed poll does
 * not count.
 */

/** A poll takes at most this fraction of the time, as far as `MAX_PAUSE_MS` allows it. */
const SHARE = 20
/** The longest pause, in milliseconds. A list is never older than that plus the duration of its poll. */
export const MAX_PAUSE_MS = 5_000

export class PollPace {
  #lastMs = 0

  /**
   * The pause after a successful poll, in milliseconds.
   * @param tookMs how long the poll took
   * @param leastMs the pause after a quick poll; at most `MAX_PAUSE_MS`
   */
  pauseAfter(tookMs: number, leastMs: number): number {
    const costMs = Math.min(tookMs, this.#lastMs)
    this.#lastMs = tookMs
    return Math.min(MAX_PAUSE_MS, Math.max(leastMs, costMs * SHARE))
  }
}
