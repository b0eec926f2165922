/**
 * How `start` is stopped: in order by the first Ctrl-C or similar signal, by force by the next one.
 *
 * npm forwards only SIGINT and SIGTERM, and a shell in between forwards none. So a start launched by npm also stops in
 * order when its parent process has ended. Launched in another way it outlives its parent, as a service should.
 */
import type { Started } from '../start.js'

/**
 * npm forwards a terminal's Ctrl-C to its child, which has already received it. Signals within this time count as one.
 */
const SAME_SIGNAL_MS = 1_000
const PARENT_CHECK_MS = 250

/**
 * Listens for SIGINT, SIGTERM, SIGHUP and SIGQUIT until the process exits: with 0 after an orderly stop, with 1 after a
 * forced one.
 * @returns a signal that aborts at the first of them
 */
export function stopAtSignals(getStarted: () => Started | undefined, say: (line: string) => void): AbortSignal {
  const asked = new AbortController()
  let askedAt = 0
  const stop = async () => {
    say('Stopping. Press Ctrl-C again to force it.')
    await getStarted()?.stop()
    say('Stopped.')
    process.exit(0)
  }
  const force = async () => {
    await getStarted()?.kill()
    process.exit(1)
  }
  const stopOnce = () => {
    if (asked.signal.aborted) return
    askedAt = performance.now()
    asked.abort()
    void stop()
  }
  const onSignal = () => {
    if (asked.signal.aborted && performance.now() - askedAt > SAME_SIGNAL_MS) void force()
    else stopOnce()
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.on(name, onSignal)
  // Set by npm and similar tools for the scripts that they run.
  if (process.env['npm_lifecycle_event'] !== undefined) watchParent(stopOnce)
  return asked.signal
}

/** A process whose parent has ended gets another parent. */
function watchParent(onGone: () => void): void {
  const parent = process.ppid
  setInterval(() => {
    if (process.ppid !== parent) onGone()
  }, PARENT_CHECK_MS).unref()
}
