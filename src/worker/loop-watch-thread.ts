/** The thread of `watchLoop`. It shares only a counter with the loop it watches. */
import { Session } from 'node:inspector'
import { workerData } from 'node:worker_threads'
import { destination } from 'pino'
import { createLog } from '../log.js'
import type { LoopWatchData } from './loop-watch.js'

/** Longer than the tick that it expects. */
const CHECK_INTERVAL_MS = 200
/** A thread inside native code cannot report its stack, and one on a busy machine takes a while. */
const STACK_DEADLINE_MS = 3_000
/** The frame named by `nameRun`. */
const TASK_FRAME = /^(?:async )?task (\S+)/
const STACK_EXPRESSION =
  '(() => { const { stackTraceLimit } = Error; Error.stackTraceLimit = 40; const { stack } = new Error(); Error.stackTraceLimit = stackTraceLimit; return stack })()'

const { ticks, warnAfterMs, killAfterMs, logLevel } = workerData as LoopWatchData
const log = createLog({ name: 'worker', level: logLevel }, destination({ fd: 1, sync: true }))
let seenTicks = 0
let stalledChecks = 0

setInterval(() => void check(), CHECK_INTERVAL_MS)

/**
 * Counts time in checks: while the whole process is stopped, by SIGSTOP or with its machine, nothing counts as blocked.
 */
async function check(): Promise<void> {
  const blockedMs = stalledChecks * CHECK_INTERVAL_MS
  const current = Atomics.load(ticks, 0)
  if (current !== seenTicks) {
    if (blockedMs > warnAfterMs) log.warn({ blockedMs }, 'the event loop runs again')
    seenTicks = current
    stalledChecks = 0
    return
  }
  stalledChecks += 1
  if (blockedMs >= killAfterMs) {
    log.fatal({ blockedMs }, 'the event loop was blocked for the length of a lease; killing this worker')
    process.kill(process.pid, 'SIGKILL')
  }
  // Only once, not at every check.
  if (blockedMs < warnAfterMs || blockedMs >= warnAfterMs + CHECK_INTERVAL_MS) return
  const stack = await readStack()
  const type = stack?.map((frame) => TASK_FRAME.exec(frame)?.[1]).find((found) => found !== undefined)
  log.warn({ blockedMs, type, stack }, `${type ?? 'something'} blocks the event loop`)
}

/**
 * The stack of the watched thread, innermost call first; undefined when it does not answer.
 *
 * The debugger pauses the thread and evaluates the stack of an error. Unlike the debugger's own list of frames, that
 * stack continues through `await`, up to the function named after the task's type: see `nameRun`.
 */
async function readStack(): Promise<string[] | undefined> {
  const session = new Session()
  let timer: NodeJS.Timeout | undefined
  try {
    session.connectToMainThread()
    return await new Promise<string[] | undefined>((resolve) => {
      timer = setTimeout(resolve, STACK_DEADLINE_MS, undefined)
      session.on('Debugger.paused', ({ params }) => {
        const callFrameId = params.callFrames[0]?.callFrameId ?? ''
        session.post('Debugger.evaluateOnCallFrame', { callFrameId, expression: STACK_EXPRESSION }, (error, answer) => {
          resolve(error === null ? readFrames(answer.result.value) : undefined)
        })
      })
      session.post('Debugger.enable')
      session.post('Debugger.pause')
    })
  } catch (error) {
    log.debug({ err: error }, 'cannot read the stack of the blocked thread')
    return undefined
  } finally {
    clearTimeout(timer)
    // Resumes the paused thread.
    session.disconnect()
  }
}

function readFrames(stack: unknown): string[] {
  const frames = typeof stack === 'string' ? stack.split('\n').slice(1) : []
  return frames
    .map((frame) =>
      frame
        .trim()
        .replace(/^at (Object\.)?/, '')
        .replace('file://', ''),
    )
    .filter((frame) => !frame.startsWith('eval '))
}
