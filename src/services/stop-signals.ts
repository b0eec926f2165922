/** Ctrl-C and its kin, for `start`: the first one stops everything in order, the next one by force. */
import type { Started } from './start.js'

/** npm passes a terminal's Ctrl-C on to its child, which got it already: within this time it is the same one. */
const SAME_SIGNAL_MS = 1_000

/**
 * Listens for SIGINT, SIGTERM and SIGHUP until the process exits: with 0 after an orderly stop, with 1 after a forced one.
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
  const onSignal = () => {
    if (!asked.signal.aborted) {
      askedAt = performance.now()
      asked.abort()
      void stop()
    } else if (performance.now() - askedAt > SAME_SIGNAL_MS) {
      void force()
    }
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal)
  return asked.signal
}
