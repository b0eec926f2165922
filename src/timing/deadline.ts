/** Bounded waits, because neither libraries nor frozen servers can be trusted to settle. */

/**
 * Waits for `work`, at most `deadlineMs`. Then rejects with `late`: an error with that message, or the error it
 * returns. A later outcome of `work` is ignored, so it must be harmless. An answer that has already arrived counts,
 * even when this process was too busy to read it in time.
 */
export function withDeadline<T>(work: Promise<T>, deadlineMs: number, late: string | (() => Error)): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const giveUp = () => reject(typeof late === 'string' ? new Error(late) : late())
    // Run the poll phase once first: after a blocked event loop the timer fires before sockets are read.
    const timer = setTimeout(() => setImmediate(giveUp), deadlineMs)
    work.then(resolve, reject)
    work.then(
      () => clearTimeout(timer),
      () => clearTimeout(timer),
    )
  })
}

/** Whether `work` settles, resolved or rejected, within `graceMs`. Never rejects. */
export function settlesWithin(work: Promise<unknown>, graceMs: number): Promise<boolean> {
  const settled = work.then(
    () => true,
    () => true,
  )
  return withDeadline(settled, graceMs, '').catch(() => false)
}
