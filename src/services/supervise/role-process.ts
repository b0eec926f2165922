/**
 * Launches one role in a process of its own, for `start`.
 *
 * The process reports over its IPC channel: `ready` once it works, `failed` with one line when it cannot. It ignores
 * Ctrl-C, which a terminal sends to the whole process group, and stops at SIGTERM or when the channel closes because
 * the supervisor has ended. If even that fails, the next start finds the process: its id is recorded in the data
 * folder, and the folder is in its command line.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PRIVATE_FILE_MODE } from '../../private-files.js'
import { StartupError } from '../../startup-error.js'
import { settlesWithin, withDeadline } from '../../timing/deadline.js'
import { stopLeftover } from '../embedded/server-process.js'
import type { Launched } from './supervisor.js'

/** Messages from a role's process to its supervisor. */
export type RoleMessage = { type: 'ready'; address?: string } | { type: 'failed'; message: string }

export interface RoleOptions {
  /** The module of the command line. */
  main: string
  role: string
  env: NodeJS.ProcessEnv
  /** Shown in the process list; see `RoleRecord`. */
  mark: string | undefined
  /** How long a stop may take before the process is killed. */
  stopDeadlineMs: number
  onSpawn(pid: number): void
  onReady(address: string | undefined): void
}

const READY_DEADLINE_MS = 60_000
const FAILED_GRACE_MS = 3_000

/** Launches a role. */
export function launchRole(options: RoleOptions): Launched {
  const { main, role, env, mark } = options
  const child = fork(main, mark === undefined ? [role] : [role, mark], {
    env,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  if (child.pid !== undefined) options.onSpawn(child.pid)
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`))
    child.once('error', (error) => resolve(error.message))
  })
  const ready = waitUntilReady(child, exited, options)
  const end = async (signal: NodeJS.Signals, graceMs: number) => {
    child.kill(signal)
    if (!(await settlesWithin(exited, graceMs))) child.kill('SIGKILL')
    await exited
  }
  // A role that cannot work must not linger.
  ready.catch(() => end('SIGTERM', FAILED_GRACE_MS))
  return { ready, exited, stop: () => end('SIGTERM', options.stopDeadlineMs), kill: () => end('SIGKILL', 0) }
}

async function waitUntilReady(child: ChildProcess, exited: Promise<string>, options: RoleOptions): Promise<void> {
  const name = `taskwire ${options.role}`
  const reported = new Promise<void>((resolve, reject) => {
    let hasReported = false
    child.on('message', (message) => {
      if (hasReported || !isRoleMessage(message)) return
      hasReported = true
      if (message.type === 'failed') return reject(new StartupError(message.message))
      options.onReady(message.address)
      resolve()
    })
  })
  const ended = exited.then((reason) => {
    throw new StartupError(`${name} ended before it was ready (${reason})`)
  })
  await withDeadline(Promise.race([reported, ended]), READY_DEADLINE_MS, () => {
    return new StartupError(`${name} was not ready after ${READY_DEADLINE_MS / 1000} s`)
  })
}

/** Code that runs in the role may send anything; only its first report counts. */
function isRoleMessage(value: unknown): value is RoleMessage {
  const { type } = (value ?? {}) as { type?: unknown }
  return type === 'ready' || type === 'failed'
}

/** Records the processes of the roles in the data folder, for the next start. */
export interface RoleRecord {
  /** Shown in the process list of every role of this data folder. */
  readonly mark: string
  add(role: string, pid: number): void
  /** Ends the roles that a killed supervisor left behind. */
  stopLeftovers(): Promise<void>
}

export function createRoleRecord(dataDir: string): RoleRecord {
  const file = join(dataDir, 'roles.json')
  const mark = `--data-dir=${dataDir}`
  const pids = new Map<string, number>()
  let writing = Promise.resolve()
  return {
    mark,
    add(role, pid) {
      pids.set(role, pid)
      const text = JSON.stringify(Object.fromEntries(pids))
      writing = writing.then(() => writeFile(file, text, { mode: PRIVATE_FILE_MODE })).catch(() => {})
    },
    async stopLeftovers() {
      const text = await readFile(file, 'utf8').catch(() => '{}')
      const left = parsePids(text)
      await Promise.all(
        left.map((pid) =>
          stopLeftover(
            pid,
            [mark],
            [
              ['SIGTERM', 3_000],
              ['SIGKILL', 5_000],
            ],
          ),
        ),
      )
    },
  }
}

/** A crash may have truncated the file. The roles then stop by themselves. */
function parsePids(text: string): number[] {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null
      ? Object.values(value).filter((pid) => Number.isInteger(pid))
      : []
  } catch {
    return []
  }
}
