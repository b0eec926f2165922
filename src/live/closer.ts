/**
 * Closes streams that have ended, a few in each turn of the event loop.
 *
 * To close a WebSocket costs ten times what it costs to send to one. So nobody is closed while others of the same room have still to be told
 * of the end: the room hands its ended streams over when its round is over. A client that closes by itself in the meantime is spared
 * the handshake.
 */
export interface Closer {
  /** Calls each of these soon, never in this turn. */
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
