/**
 * Keeps parts of a program running, each in a process of its own, and stops them in order.
 *
 * When a part never comes up, `add` rejects and the caller decides. A part that dies later is restarted after a pause.
 * The pause grows with each consecutive death (0.25 s, doubling up to 30 s) and is reset once the part has stayed up
 * for a minute. Each death is reported in one line. `stop` ends the parts in the reverse order of `add`, each
 * completely before the next, including those still starting. From its start on, no part is restarted, however it ended
 * (a signal to the whole process group reaches the parts too). `kill` cuts a stop short and returns when every process
 * is gone.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** A part that was launched. It may still be starting or may have ended already. */
export interface Launched {
  /** Resolves once the part works; rejects with the reason when it fails to start. */
  readonly ready: Promise<void>
  /** Resolves with the reason as text once the part has ended, requested or not. Never rejects. */
  readonly exited: Promise<string>
  /** Stops the part in order, even while it is starting. Resolves when it is gone. */
  stop(): Promise<void>
  /** Ends the part as fast as possible. Resolves when it is gone. */
  kill(): Promise<void>
}

/** A part to keep running. */
export interface Part {
  /** Its name in messages. */
  name: string
  launch(): Launched
}

export interface Supervisor {
  /** Launches a part and resolves once it works. Rejects when its first start fails. */
  add(part: Part): Promise<void>
  /** Stops a part in order and launches it again. Resolves when it has stopped. */
  restart(name: string): Promise<void>
  /** Idempotent. */
  stop(): Promise<void>
  kill(): Promise<void>
}

export interface SupervisorOptions {
  /** Prints lines for the user. */
  say(line: string): void
  firstPauseMs?: number
  maxPauseMs?: number
  /** After this long without a death the pause is reset. */
  forgiveAfterMs?: number
}

interface Kept {
  readonly name: string
  restart(): Promise<void>
  /** From here on, the end of the part is expected and not reported. */
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
    // `add` reports the first start.
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

  /** A stop or a restart ends the pause early. */
  async function pause(milliseconds: number): Promise<void> {
    const ended = new AbortController()
    endPause = () => ended.abort()
    await sleep(milliseconds, undefined, { signal: AbortSignal.any([stopped.signal, ended.signal]) }).catch(() => {})
  }

  /** Waits until the current launch has ended, and returns how it went. */
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
