/**
 * Runs one role inside its process. See `role-process.ts` for the supervisor's side.
 *
 * Without a supervisor, the role stops in order at SIGTERM, SIGINT, SIGHUP or SIGQUIT and exits with 0. Under a
 * supervisor it ignores the signals that a terminal sends to the whole process group, and stops at SIGTERM or when the
 * supervisor has ended. An uncaught error is logged in one fatal line, which names the connection or timer it came
 * from, and ends the process: its state in memory can no longer be trusted.
 */
import { loadConfig, type ConfigOf } from '../../config.js'
import { createLog } from '../../log.js'
import type { Log } from '../../log.js'
import { describeWhatRan } from './last-words.js'
import type { RoleMessage } from './role-process.js'

export type ServiceRole = 'web' | 'worker' | 'relay'

interface RunningRole {
  /** The address it listens on, if it does. */
  address?: string
  stop(): Promise<void>
  /** Called before an uncaught error ends the process. It has two seconds. */
  crash?(): Promise<void>
}

export type StartRole<R extends ServiceRole> = (config: ConfigOf<R>, log: Log) => Promise<RunningRole>

/** How long a role may take to stop, beyond the grace of the worker's attempts. */
const STOP_MARGIN_MS = 8_000
/** How long a role's `crash` may take before the process ends. */
const CRASH_DEADLINE_MS = 2_000

/**
 * Runs a role until it is asked to stop; then the process exits.
 * @param isSomebodys handles an uncaught error whose origin it knows and returns true; the process then continues
 * @throws what `startRole` throws
 */
export async function runRole<R extends ServiceRole>(
  role: R,
  startRole: StartRole<R>,
  isSomebodys: (error: unknown, log: Log) => boolean = () => false,
): Promise<void> {
  const stopAsked = waitForStop()
  const config = loadConfig(role, process.env)
  const log = createLog({ name: role, level: config.logLevel })
  const started: { role?: RunningRole | undefined } = {}
  let isDying = false
  const die = (error: unknown, origin?: string) => {
    log.fatal({ err: error, ...(origin && { origin, ...describeWhatRan() }) }, 'unexpected error; ending the process')
    const exit = () => process.exit(1)
    if (isDying || started.role?.crash === undefined) return exit()
    isDying = true
    setTimeout(exit, CRASH_DEADLINE_MS)
    started.role.crash().then(exit, exit)
  }
  process.on('uncaughtException', (error, origin) => isSomebodys(error, log) || die(error, origin))
  process.on('unhandledRejection', (reason) => isSomebodys(reason, log) || die(reason, 'unhandledRejection'))
  // A stop requested during the start cuts the start short.
  const running = await Promise.race([startRole(config, log), stopAsked.then(() => undefined)])
  started.role = running
  if (running !== undefined) {
    await reportToSupervisor({ type: 'ready', ...(running.address === undefined ? {} : { address: running.address }) })
    log.info({ address: running.address }, 'ready')
  }
  log.info({ reason: await stopAsked }, 'stopping')
  const graceMs = 'shutdownGraceSeconds' in config ? config.shutdownGraceSeconds * 1000 : 0
  setTimeout(() => die(new Error('the orderly stop took too long')), graceMs + STOP_MARGIN_MS).unref()
  await running?.stop()
  process.exit(0)
}

/** Whether `start` launched this process. */
export function isSupervised(): boolean {
  return process.connected
}

/** Resolves once the message has been sent, or at once without a supervisor. */
export function reportToSupervisor(message: RoleMessage): Promise<void> {
  return new Promise((resolve) => {
    if (!process.connected || process.send === undefined) resolve()
    else process.send(message, undefined, undefined, () => resolve())
  })
}

/** Resolves with the reason once this process is asked to stop. */
function waitForStop(): Promise<string> {
  return new Promise((resolve) => {
    process.on('SIGTERM', resolve)
    process.once('disconnect', () => resolve('the supervisor is gone'))
    for (const signal of ['SIGINT', 'SIGHUP', 'SIGQUIT'] as const)
      process.on(signal, isSupervised() ? () => {} : resolve)
  })
}
