/**
 * Closes streams that have ended, a few in each turn of the event loop.
 *
 * Closing a WebSocket costs ten times as much as sending to one. So no stream of a room is closed while others still
 * have to receive the end: the room passes its ended streams on when its round is over. If a client closes by itself in
 * the meantime, no handshake is needed.
 */
export interface Closer {
  /** Calls each of these soon, but never in this turn. */
  add(closes: readonly (() => void)[]): void
}

/** Few enough that other work waits a few milliseconds at most. */
const PORTION = 25

export function createCloser(): Closer {
  const waiting: (() => void)[] = []
  let isUnderWay = false

  function closeSome(): void {
    for (const close of waiting.splice(0, PORTION)) close()
    isUnderWay = waiting.length > 0
    if (isUnderWay) setImmediate(closeSome)
  }

  return {
    add(closes) {
      for (const close of closes) waiting.push(close)
      if (isUnderWay || waiting.length === 0) return
      isUnderWay = true
      setImmediate(closeSome)
    },
  }
}
