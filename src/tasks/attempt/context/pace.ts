/** Measures the speed of a run, from its first report. */

/** Empty when unknown. */
export interface Pace {
  perSecond?: number
  remainingMs?: number
}

/** Before this, the speed says more about the start than about the rest. */
const LEAST_MS = 500

/** @param now a monotonic clock, in milliseconds */
export function createPaceMeter(
  now: () => number = () => performance.now(),
): (done: number, total: number | undefined) => Pace {
  let first: { done: number; atMs: number } | undefined
  return (done, total) => {
    const atMs = now()
    // A run that starts over is measured again.
    if (first === undefined || done < first.done) first = { done, atMs }
    const tookMs = atMs - first.atMs
    if (tookMs < LEAST_MS || done === first.done) return {}
    const perSecond = ((done - first.done) / tookMs) * 1_000
    // Infinite for numbers near the largest possible.
    if (!Number.isFinite(perSecond)) return {}
    const remainingMs = total === undefined ? Infinity : Math.round((Math.max(total - done, 0) / perSecond) * 1_000)
    return { perSecond: Number(perSecond.toPrecision(3)), ...(Number.isFinite(remainingMs) && { remainingMs }) }
  }
}
