/** The thread of `watchLoop`. It shares nothing with the loop it watches but a counter. */
import { Session } from 'node:inspector'
import { workerData } from 'node:worker_threads'
import { destination } from 'pino'
import { createLog } from '../log.js'
import type { LoopWatchData } from './loop-watch.js'

/** Longer than the tick that it looks for. */
const LOOK_INTERVAL_MS = 200
/** A thread that is inside native code cannot say where it is; one on a busy machine takes a while. */
const STACK_DEADLINE_MS = 3_000
/** The call that `nameRun` has named. */
const TASK_FRAME = /^(?:async )?task (\S+)/
const STACK_EXPRESSION = '(() => { const { stackTraceLimit } = Error; Error.stackTraceLimit = 40; const { stack } = new Error(); Error.stackTraceLimit = stackTraceLimit; return stack })()'

const { ticks, warnAfterMs, killAfterMs, logLevel } = workerData as LoopWatchData
const log = createLog({ name: 'worker', level: logLevel }, destination({ fd: 1, sync: true }))
let seenTicks = 0
let stillLooks = 0

setInterval(() => void look(), LOOK_INTERVAL_MS)

/** Time is counted in looks: while the whole process is stopped, by SIGSTOP or with its machine, nothing is blocked. */
async function look(): Promise<void> {
  const blockedMs = stillLooks * LOOK_INTERVAL_MS
  const current = Atomics.load(ticks, 0)
  if (current !== seenTicks) {
    if (blockedMs > warnAfterMs) log.warn({ blockedMs }, 'the event loop moves again')
    seenTicks = current
    stillLooks = 0
    return
  }
  stillLooks += 1
  if (blockedMs >= killAfterMs) {
    log.fatal({ blockedMs }, 'the event loop is blocked for as long as a lease; this worker is killed')
    process.kill(process.pid, 'SIGKILL')
  }
  // Once, not at each look.
  if (blockedMs < warnAfterMs || blockedMs >= warnAfterMs + LOOK_INTERVAL_MS) return
  const stack = await readStack()
  const type = stack?.map((frame) => TASK_FRAME.exec(frame)?.[1]).find((found) => found !== undefined)
  log.warn({ blockedMs, type, stack }, `${type ?? 'something'} blocks the event loop`)
}

/**
 * Where the watched thread is, the innermost call first; undefined when it does not say.
 *
 * The thread is paused by the debugger and asked for the stack of an error: unlike the debugger's own list of frames it goes
 * on through `await`, up to the function that bears the name of the task's type: see `nameRun`.
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
    log.debug({ err: error }, 'the stack cannot be read')
    return undefined
  } finally {
    clearTimeout(timer)
    // Lets the paused thread go on.
    session.disconnect()
  }
}

function readFrames(stack: unknown): string[] {
  const frames = typeof stack === 'string' ? stack.split('\n').slice(1) : []
  return frames.map((frame) => frame.trim().replace(/^at (Object\.)?/, '').replace('file://', '')).filter((frame) => !frame.startsWith('eval '))
}
