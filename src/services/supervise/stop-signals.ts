/**
 * How `start` is stopped: by the first Ctrl-C or its kin in order, by the next one by force.
 *
 * npm passes SIGINT and SIGTERM on and nothing else, and a shell between it and us passes on none at all. So a start that was
 * launched by npm also stops in order when its parent process is gone. Started otherwise it outlives its parent, as a service does.
 */
import type { Started } from '../start.js'

/** npm passes a terminal's Ctrl-C on to its child, which got it already: within this time it is the same one. */
const SAME_SIGNAL_MS = 1_000
const PARENT_CHECK_MS = 250

/**
 * Listens for SIGINT, SIGTERM, SIGHUP and SIGQUIT until the process exits: with 0 after an orderly stop, with 1 after a forced one.
 * @returns a signal that aborts at the first of them
 */
export function stopAtSignals(getStarted: () => Started | undefined, say: (line: string) => void): AbortSignal {
  const asked = new AbortController()
  let askedAt = 0
  const stop = async () => {
    say('Stopping. Ctrl-C once more to force it.')
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
  // Set by npm, and by those like it, for what they run.
  if (process.env['npm_lifecycle_event'] !== undefined) watchParent(stopOnce)
  return asked.signal
}

/** A process whose parent has ended gets another one. */
function watchParent(onGone: () => void): void {
  const parent = process.ppid
  setInterval(() => {
    if (process.ppid !== parent) onGone()
  }, PARENT_CHECK_MS).unref()
}
