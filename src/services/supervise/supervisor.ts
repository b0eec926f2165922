/**
 * Keeps parts of a program running, each in a process of its own, and stops them in order.
 *
 * A part that never came up is the caller's to judge: `add` rejects. One that dies later is started again after a pause
 * that grows with each death in a row (0.25 s, doubling to 30 s) and is forgotten once it stayed up for a minute; each
 * death is said in one line. `stop` ends the parts in the reverse order of `add`, each one completely before the next,
 * also those still starting; from its first moment on no part is started again, whatever ends one (a signal to the whole process
 * group reaches the parts too). `kill` cuts a stop short; it returns when everything is gone.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** A part that was launched: perhaps starting still, perhaps ended already. */
export interface Launched {
  /** Resolves once it works; rejects, with the reason, when it does not come to that. */
  readonly ready: Promise<void>
  /** Resolves with the reason, in words, once it has ended, asked or not. Never rejects. */
  readonly exited: Promise<string>
  /** Stops it in an orderly way, also while it starts; resolves when it is gone. */
  stop(): Promise<void>
  /** Ends it as fast as can be; resolves when it is gone. */
  kill(): Promise<void>
}

/** A part to keep running. */
export interface Part {
  /** As it is called in messages. */
  name: string
  launch(): Launched
}

export interface Supervisor {
  /** Launches a part and resolves once it works. Rejects when it does not come up the first time. */
  add(part: Part): Promise<void>
  /** Stops a part in an orderly way and launches it anew; resolves when it has stopped. */
  restart(name: string): Promise<void>
  /** Idempotent. */
  stop(): Promise<void>
  kill(): Promise<void>
}

export interface SupervisorOptions {
  /** Takes the lines for people. */
  say(line: string): void
  firstPauseMs?: number
  maxPauseMs?: number
  /** After this long without a death the pause is the first one again. */
  forgiveAfterMs?: number
}

interface Kept {
  readonly name: string
  restart(): Promise<void>
  /** From here on its end is no death. */
  letGo(): void
  stop(): Promise<void>
  kill(): Promise<void>
}

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const kept: Kept[] = []
  let stopping: Promise<void> | undefined

  async function stopInOrder(): Promise<void> {
    for (const part of kept) part.letGo()
    for (const part of kept.toReversed()) await part.stop()
  }

  return {
    async add(part) {
      if (stopping !== undefined) throw new Error('stopping')
      const first = part.launch()
      kept.push(keepRunning(part, first, options))
      await first.ready
    },
    async restart(name) {
      await kept.find((part) => part.name === name)?.restart()
    },
    stop: () => (stopping ??= stopInOrder()),
    async kill() {
      stopping ??= Promise.resolve()
      for (const part of kept) part.letGo()
      for (const part of kept.toReversed()) await part.kill()
    },
  }
}

function keepRunning(part: Part, first: Launched, options: SupervisorOptions): Kept {
  const { say, firstPauseMs = 250, maxPauseMs = 30_000, forgiveAfterMs = 60_000 } = options
  const stopped = new AbortController()
  let current = first
  let isRestarting = false
  let endPause = () => {}
  void live()

  async function live(): Promise<void> {
    let pauseMs = firstPauseMs
    let problem = await watch()
    // The first start is reported by `add`.
    if (problem.wasReady === false) return
    while (!stopped.signal.aborted) {
      if (isRestarting || problem.upMs > forgiveAfterMs) pauseMs = firstPauseMs
      if (!isRestarting) {
        say(
          `${part.name} ${problem.wasReady ? 'ended' : 'does not start'} (${problem.reason}); trying again in ${pauseMs / 1000} s`,
        )
        await pause(pauseMs)
        pauseMs = Math.min(pauseMs * 2, maxPauseMs)
      }
      if (stopped.signal.aborted) return
      isRestarting = false
      current = part.launch()
      problem = await watch()
    }
  }

  /** A stop or a restart ends it. */
  async function pause(milliseconds: number): Promise<void> {
    const ended = new AbortController()
    endPause = () => ended.abort()
    await sleep(milliseconds, undefined, { signal: AbortSignal.any([stopped.signal, ended.signal]) }).catch(() => {})
  }

  /** Waits until the current launch has ended, and tells how it went. */
  async function watch() {
    const startedAt = performance.now()
    const failure = await current.ready.then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    )
    if (failure === undefined && current !== first) say(`${part.name} runs again`)
    const reason = await current.exited
    return { wasReady: failure === undefined, reason: failure ?? reason, upMs: performance.now() - startedAt }
  }

  return {
    name: part.name,
    async restart() {
      if (stopped.signal.aborted) return
      isRestarting = true
      endPause()
      await current.stop()
    },
    letGo: () => stopped.abort(),
    stop: () => current.stop(),
    kill: () => current.kill(),
  }
}
