/** Bounded waits, because neither a library nor a frozen server promises to settle. */

/**
 * Waits for `work`, at most `deadlineMs`; then rejects with `late`: an error with that message, or the error that it makes. What
 * `work` does later is ignored, so it must be harmless. An answer that has already arrived counts, also when this process was
 * too busy to read it in time.
 */
export function withDeadline<T>(work: Promise<T>, deadlineMs: number, late: string | (() => Error)): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const giveUp = () => reject(typeof late === 'string' ? new Error(late) : late())
    // One turn through the poll phase first: after a blocked event loop the timer fires before sockets are read.
    const timer = setTimeout(() => setImmediate(giveUp), deadlineMs)
    work.then(resolve, reject)
    work.then(
      () => clearTimeout(timer),
      () => clearTimeout(timer),
    )
  })
}

/** Whether `work` settles, either way, within `graceMs`. Never rejects. */
export function settlesWithin(work: Promise<unknown>, graceMs: number): Promise<boolean> {
  const settled = work.then(
    () => true,
    () => true,
  )
  return withDeadline(settled, graceMs, '').catch(() => false)
}
