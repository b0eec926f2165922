/** How fast a run gets on, from its first report. */

/** Empty when it cannot be told. */
export interface Pace {
  perSecond?: number
  remainingMs?: number
}

/** Before that a pace says more about the start than about the rest. */
const LEAST_MS = 500

/** @param now a monotonic clock, in milliseconds */
export function createPaceMeter(now: () => number = () => performance.now()): (done: number, total: number | undefined) => Pace {
  let first: { done: number; atMs: number } | undefined
  return (done, total) => {
    const atMs = now()
    // One that starts over is measured anew.
    if (first === undefined || done < first.done) first = { done, atMs }
    const tookMs = atMs - first.atMs
    if (tookMs < LEAST_MS || done === first.done) return {}
    const perSecond = ((done - first.done) / tookMs) * 1_000
    // Of numbers near the largest there are.
    if (!Number.isFinite(perSecond)) return {}
    const remainingMs = total === undefined ? Infinity : Math.round((Math.max(total - done, 0) / perSecond) * 1_000)
    return { perSecond: Number(perSecond.toPrecision(3)), ...(Number.isFinite(remainingMs) && { remainingMs }) }
  }
}
