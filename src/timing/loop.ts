/** A step repeated on a timer: the shape of everything the relay does. */
import type { FastifyBaseLogger } from 'fastify'

export interface Loop {
  /** Lets the step under way end, starts no other. Idempotent. */
  stop(): Promise<void>
}

/**
 * Runs `step` again and again, `intervalMs` after it ended, or at once when it returns true ("there is more"). A step
 * that fails is logged, and the next comes after a longer pause, up to `maxPauseMs`.
 */
export function startLoop(options: {
  name: string
  step(): Promise<boolean>
  intervalMs: number
  maxPauseMs?: number
  log: FastifyBaseLogger
}): Loop {
  const { name, step, intervalMs, maxPauseMs = 5_000, log } = options
  const stopped = new AbortController()
  let failures = 0

  async function pause(milliseconds: number): Promise<void> {
    // A signal that is aborted already tells nobody any more.
    if (stopped.signal.aborted) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, milliseconds)
      function done(): void {
        clearTimeout(timer)
        stopped.signal.removeEventListener('abort', done)
        resolve()
      }
      stopped.signal.addEventListener('abort', done)
    })
  }

  async function run(): Promise<void> {
    while (!stopped.signal.aborted) {
      let hasMore = false
      try {
        hasMore = await step()
        if (failures > 0) log.info({ loop: name }, 'works again')
        failures = 0
      } catch (error) {
        failures += 1
        log.warn({ err: error, loop: name, failures }, 'a step failed; trying again')
      }
      if (!hasMore) await pause(Math.min(intervalMs * 2 ** Math.min(failures, 10), Math.max(intervalMs, maxPauseMs)))
    }
  }

  const running = run()
  return {
    async stop() {
      stopped.abort()
      await running
    },
  }
}
