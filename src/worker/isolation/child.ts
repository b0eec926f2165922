/**
 * The process of a handler. It runs one attempt after another on its worker's request and reports back. It never
 * outlives the worker: it ends when their channel closes or, when it is too busy to notice, through a thread that
 * watches its parent.
 */
import { Worker } from 'node:worker_threads'
import { createDiskFloor } from '../../artifacts/disk-floor.js'
import { openArtifactStore } from '../../artifacts/open-store.js'
import { loadConfig } from '../../config.js'
import { openDatabase } from '../../db/open.js'
import { failRunOf, runInScope, STRAY } from '../../definitions/handler-scope.js'
import { guardOwnProcess } from '../../definitions/own-process.js'
import { describeError } from '../../definitions/thrown.js'
import { loadRegistry } from '../../handlers/load-registry.js'
import { createLog } from '../../log.js'
import { setBasePath } from '../../protocol/base-path.js'
import { createTaskContext, type OpenTaskContext } from '../../tasks/attempt/context/task-context.js'
import { logStray } from '../../tasks/attempt/log-stray.js'
import { checkResult, settleReturned } from '../../tasks/attempt/outcome.js'
import type { Recorder } from '../../tasks/attempt/recorder.js'
import type { ToChild } from './messages.js'
import { createReporter } from './reporter.js'
import { packError } from './thrown-error.js'

const TICK_MS = 250

const config = loadConfig('worker', process.env)
const log = createLog({ name: 'isolated', level: config.logLevel })
setBasePath(config.basePath)
// Handlers' own calls are refused.
const exit = process.exit.bind(process)
const sendToWorker = process.send?.bind(process)
guardOwnProcess(log)
const floor = createDiskFloor({ minFreeMb: config.minFreeDiskMb, folders: [], log })
const registry = await loadRegistry({ ...config, floor })
const artifacts = await openArtifactStore(config.artifactsDir, floor)
const artifactTtlMs = config.artifactTtlHours * 3_600_000
// Connects when a handler first uses it.
const db = openDatabase(config.databaseUrl, { applicationName: 'taskwire isolated', maxConnections: 2 })
const { send, ...reporter } = createReporter((message) => {
  // Without a callback, a channel that closes meanwhile is an uncaught error.
  sendToWorker?.(message, undefined, undefined, () => {})
})
let controller = new AbortController()
let onFlushed = () => {}
let failRun: ((error: unknown) => void) | undefined

new Worker(new URL('./parent-watch-thread.js', import.meta.url), { workerData: { parentPid: process.ppid } }).unref()
process.on('disconnect', () => exit(0))
process.on('uncaughtException', onUnhandled)
process.on('unhandledRejection', onUnhandled)
// A terminal sends signals to the whole process group; the worker decides when to stop.
for (const signal of ['SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGTERM'] as const) process.on(signal, () => {})
process.on('message', (message: ToChild) => {
  if (message.type === 'run') void run(message)
  else if (message.type === 'abort') controller.abort(message.reason)
  else onFlushed()
})
send({ type: 'ready' })

async function run({ claimed, ticks }: Extract<ToChild, { type: 'run' }>): Promise<void> {
  controller = new AbortController()
  const registered = registry.find(claimed.type)
  if (registered === undefined)
    return send({
      type: 'threw',
      error: packError(new Error(`this process has no handler for the type ${claimed.type}`)),
    })
  const { payload, errors } = registered.readPayload(claimed.payload)
  if (errors[0] !== undefined) return send({ type: 'violation', error: errors[0] })
  const ticking = ticks ? setInterval(() => send({ type: 'tick' }), TICK_MS) : undefined
  let opened: OpenTaskContext | undefined
  const isCommitted = () => opened?.isCommitted() ?? false
  const onStray = (error: unknown, isOver: boolean) => {
    // The state of this process is no longer certain, so no other run may use it.
    send({ type: 'spoilt' })
    logStray(error, isOver, claimed, opened?.context, log)
  }
  try {
    const ran = runInScope({ signal: controller.signal, onStray }, (signal) => {
      opened = createTaskContext(claimed, signal, {
        db,
        log,
        registry,
        recorder,
        artifacts,
        artifactTtlMs,
        alive: reporter.alive,
        settleReturned: (returned) => settleReturned(claimed, registered, returned),
      })
      return registered.run(payload, opened.context)
    })
    // Checked here already, because most results that cannot be stored cannot be sent either.
    const outcome = checkResult(registered, await Promise.race([ran, failedFromOutside()]))
    if (isCommitted()) send({ type: 'committed' })
    else if (outcome.kind === 'completed') send({ type: 'returned', result: outcome.result })
    else if (outcome.kind === 'failed') throw outcome.thrown
  } catch (error) {
    if (isCommitted()) log.warn({ err: error, taskId: claimed.id }, 'a handler failed after it had committed its task')
    send(isCommitted() ? { type: 'committed' } : { type: 'threw', error: packError(error) })
  } finally {
    failRun = undefined
    clearInterval(ticking)
  }
}

/** Rejects with an uncaught error of unknown origin: this process has one run, so it belongs to that run. */
function failedFromOutside(): Promise<never> {
  const failed = new Promise<never>((_, reject) => (failRun = reject))
  failed.catch(() => {})
  return failed
}

function onUnhandled(error: unknown): void {
  if (failRunOf(error, log)) return
  send({ type: 'spoilt', endsWorkers: describeError(error).message })
  log.error({ err: error }, STRAY)
  failRun?.(error)
}

/** Forwards over the channel what the worker does directly for handlers in its own process. */
const recorder: Recorder = {
  claim: () => Promise.reject(new Error('only the worker may claim attempts')),
  settle: () => Promise.reject(new Error('only the worker may settle attempts')),
  progress: reporter.progress,
  log: (report) => send({ type: 'log', report }),
  announce: (event) => send({ type: 'announce', event }),
  flush: () =>
    new Promise((resolve) => {
      onFlushed = resolve
      send({ type: 'flush' })
    }),
}
