/**
 * How often a watched list polls PostgreSQL: as often as it wants to, or more seldom where the poll is slow, but never so seldom that a
 * reader of the list would notice.
 *
 * A poll that waited for a lock, or for a connection, took long without having cost anything. Nothing tells such a poll from one that is
 * slow by itself, except that the one before was quick: so the cost is the lesser of the last two. A poll that failed is not counted.
 */

/** A poll takes at most this part of the time, as long as `MAX_PAUSE_MS` allows it. */
const SHARE = 20
/** The longest pause, in milliseconds. With it a list is never older than that, plus the duration of its poll. */
export const MAX_PAUSE_MS = 5_000

export class PollPace {
  #lastMs = 0

  /**
   * The pause after a poll that succeeded, in milliseconds.
   * @param tookMs how long the poll took
   * @param leastMs the pause after a quick one; at most `MAX_PAUSE_MS`
   */
  pauseAfter(tookMs: number, leastMs: number): number {
    const costMs = Math.min(tookMs, this.#lastMs)
    this.#lastMs = tookMs
    return Math.min(MAX_PAUSE_MS, Math.max(leastMs, costMs * SHARE))
  }
}
