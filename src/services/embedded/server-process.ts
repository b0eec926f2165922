/**
 * Server processes (PostgreSQL, Redis) that survive a terminal's Ctrl-C and are found again after a crash.
 *
 * Each runs in a session of its own, so that Ctrl-C reaches only the supervisor, which then stops them in order. Each
 * logs to a file, so that it does not fail when the supervisor is gone. A server left over by a killed supervisor is
 * recognized by its process id together with a mark in its command line: the id alone may belong to another process by
 * now.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { open, readFile, rename } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { RIGHTS_OF_OTHERS } from '../../private-files.js'
import { StartupError } from '../../startup-error.js'
import { settlesWithin } from '../../timing/deadline.js'

/** The user that a process runs as. */
export interface UserIds {
  uid: number
  gid: number
}

/** Signals to send in turn, each with the time it may take to work. */
export type StopPlan = readonly (readonly [signal: NodeJS.Signals, graceMs: number])[]

export interface ServerProcess {
  readonly pid: number
  /** Resolves with the reason as text once the process has ended. */
  readonly exited: Promise<string>
  hasExited(): boolean
  /** Sends the signals of the plan until the process ends. Idempotent. */
  stop(plan: StopPlan): Promise<void>
}

/** A started service. */
export interface RunningServer {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Resolves with the reason as text once the server has ended, requested or not. */
  readonly exited: Promise<string>
  /** Stops it in order; kills it when that takes too long. Idempotent. */
  stop(): Promise<void>
  /** Ends it as fast as possible without damage to its data. */
  kill(): Promise<void>
}

export interface ServerOptions {
  /** The working folder. */
  folder: string
  /** Receives the output. The log of the previous run is kept as `<logFile>.old`. */
  logFile: string
  /** The user to run as. Default: the current user. */
  user?: UserIds | undefined
}

/** Starts a server. @throws StartupError when the program cannot be executed */
export async function spawnServer(
  command: string,
  args: readonly string[],
  options: ServerOptions,
): Promise<ServerProcess> {
  await rename(options.logFile, `${options.logFile}.old`).catch(() => {})
  const log = await open(options.logFile, 'a', 0o600)
  try {
    const child = spawnPrivately(() =>
      spawn(command, args, {
        cwd: options.folder,
        env: serverEnvironment(),
        stdio: ['ignore', log.fd, log.fd],
        detached: true,
        ...options.user,
      }),
    )
    let exitReason: string | undefined
    const exited = new Promise<string>((resolve) => {
      child.once('exit', (code, signal) => {
        exitReason = signal === null ? `exit code ${code}` : signal
        resolve(exitReason)
      })
    })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', (error) => reject(new StartupError(`cannot run ${command}: ${error.message}`)))
    })
    const pid = child.pid ?? 0
    const hasExited = () => exitReason !== undefined
    const stop = async (plan: StopPlan) => {
      for (const [signal, graceMs] of plan) {
        if (hasExited()) return
        child.kill(signal)
        await settlesWithin(exited, graceMs)
      }
    }
    return { pid, exited, hasExited, stop }
  } finally {
    await log.close()
  }
}

/**
 * Makes the server's files private to its user, whatever the umask is here. `spawn` creates the process before it
 * returns.
 */
function spawnPrivately(start: () => ChildProcess): ChildProcess {
  const before = process.umask(RIGHTS_OF_OTHERS)
  try {
    return start()
  } finally {
    process.umask(before)
  }
}

/** Runs a program to its end and returns its standard output. Rejects with its standard error. */
export function runProgram(
  command: string,
  args: readonly string[],
  options: { folder: string; user?: UserIds | undefined; input?: string },
) {
  return new Promise<string>((resolve, reject) => {
    const child = execFile(
      command,
      args,
      { cwd: options.folder, env: serverEnvironment(), ...options.user },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout)
        else reject(new Error(stderr.trim() === '' ? error.message : stderr.trim(), { cause: error }))
      },
    )
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input ?? '')
  })
}

/**
 * Variables such as PGPORT or a foreign locale must not reach the servers. The system's own tools are always on PATH.
 */
function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: `${process.env['PATH'] ?? ''}:/usr/bin:/bin`, LC_ALL: 'C', TZ: 'UTC' }
}

/**
 * Stops a process left over by an earlier run, if the process with this id has one of the marks in its command line.
 * @throws StartupError when it belongs to another user
 */
export async function stopLeftover(pid: number, marks: readonly string[], plan: StopPlan): Promise<void> {
  for (const [signal, graceMs] of plan) {
    if (!(await isRunningAs(pid, marks))) return
    sendSignal(pid, signal)
    // A stopped process handles no signal but SIGKILL until it is continued.
    sendSignal(pid, 'SIGCONT')
    const deadline = performance.now() + graceMs
    while (performance.now() < deadline && (await isRunningAs(pid, marks))) await sleep(20)
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    // It may have ended since the check.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return
    throw new StartupError(`process ${pid} of another user still uses this data folder. Stop it first.`)
  }
}

/** Whether the process with this id is alive (not a zombie) and its command line contains one of the marks. */
async function isRunningAs(pid: number, marks: readonly string[]): Promise<boolean> {
  const commandLine = await readCommandLine(pid)
  return marks.some((mark) => commandLine.includes(mark))
}

async function readCommandLine(pid: number): Promise<string> {
  if (process.platform === 'linux') return readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return runProgram('ps', ['-ww', '-o', 'command=', '-p', String(pid)], { folder: '/' }).catch(() => '')
}

/** A port of 127.0.0.1 that is free now. Another process may take it before it is used; then try again. */
export function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

/** Whether something accepts connections on this port of 127.0.0.1. */
export function isPortTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => (socket.destroy(), resolve(true)))
    socket.once('error', () => resolve(false))
  })
}

/** The log line that says why a server gave up. */
export async function readLogTail(logFile: string): Promise<string> {
  const text = await readFile(logFile, 'utf8').catch(() => '')
  const lines = text.trim().split('\n')
  return (
    lines.findLast((line) => /FATAL|PANIC|ERROR|Fatal|Can't|error while/.test(line))?.trim() ??
    lines.at(-1)?.trim() ??
    ''
  )
}
