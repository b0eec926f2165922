/** Taskwire's own processes for tests: the built command line, as a user runs it. All end with the test. */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { access, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { RoleMessage } from '../../src/services/role-process.js'
import type { UserIds } from '../../src/services/server-process.js'
import { findChildren, type TestScope } from './services.js'

/** The built command line; `npm run build` makes it, and `npm test` runs that first. */
export const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

const DEADLINE_MS = 30_000

export interface ProcessOptions {
  /** Added to PATH, HOME and TMPDIR of this process; nothing else is inherited. */
  env?: Readonly<Record<string, string>>
  cwd?: string
  /** Run as this user. */
  user?: UserIds
  /** Another command line than `MAIN`. */
  main?: string
  /** In a process group of its own, as a terminal starts it; see `pressCtrlC`. */
  ownGroup?: boolean
}

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

export interface TestProcess {
  readonly pid: number
  readonly exited: Promise<Exit>
  /** What it wrote so far to standard output and standard error, together and apart. */
  output(): string
  stdout(): string
  stderr(): string
  /** Resolves with the match once the output holds it. Rejects, with the output, when the process ends first. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray>
  signal(signal: NodeJS.Signals): void
  /** Asks it to stop; kills it when it does not. */
  stop(): Promise<Exit>
}

/** Runs `taskwire <args>`. */
export function spawnTaskwire(t: TestScope, args: readonly string[], options: ProcessOptions = {}): TestProcess {
  return watchProcess(t, spawnMain(args, options, ['ignore', 'pipe', 'pipe']))
}

/** Runs one role and waits until it is ready; `address` is where the web role listens. */
export async function startRole(
  t: TestScope,
  role: 'web' | 'worker' | 'relay',
  options: ProcessOptions = {},
): Promise<TestProcess & { address: string }> {
  const child = spawnMain([role], options, ['ignore', 'pipe', 'pipe', 'ipc'])
  const watched = watchProcess(t, child)
  const ready = new Promise<string>((resolve, reject) => {
    child.on('message', (message: RoleMessage) => {
      if (message.type === 'ready') resolve(message.address ?? '')
      else reject(new Error(`${role}: ${message.message}`))
    })
  })
  const ended = watched.exited.then(() => Promise.reject(new Error(`${role} ended:\n${watched.output()}`)))
  ended.catch(() => {})
  return { ...watched, address: await Promise.race([ready, ended]) }
}

function spawnMain(args: readonly string[], options: ProcessOptions, stdio: StdioOptions): ChildProcess {
  const { PATH, HOME, TMPDIR } = process.env
  const inherited = Object.fromEntries(Object.entries({ PATH, HOME, TMPDIR }).filter(([, value]) => value !== undefined))
  return spawn(process.execPath, [options.main ?? MAIN, ...args], {
    env: { ...inherited, ...options.env },
    cwd: options.cwd,
    stdio,
    detached: options.ownGroup ?? false,
    ...options.user,
  })
}

function watchProcess(t: TestScope, child: ChildProcess): TestProcess {
  const written = { stdout: '', stderr: '', both: '' }
  const listeners = new Set<() => void>()
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      written[name] += text
      written.both += text
      for (const listener of listeners) listener()
    })
  }
  // 'exit', not 'close': a process that outlives it may hold its output open.
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => setImmediate(resolve, { code, signal }))
  })
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS)
    const exit = await exited
    clearTimeout(timer)
    return exit
  }
  t.teardown(() => end('SIGTERM'))
  return {
    pid: child.pid ?? 0,
    exited,
    output: () => written.both,
    stdout: () => written.stdout,
    stderr: () => written.stderr,
    signal: (signal) => void child.kill(signal),
    stop: () => end('SIGTERM'),
    waitFor(pattern) {
      return new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(written.both)
          if (match === null) return false
          listeners.delete(look)
          clearTimeout(timer)
          resolve(match)
          return true
        }
        const giveUp = (why: string) => look() || reject(new Error(`${why} before ${pattern} in:\n${written.both}`))
        const timer = setTimeout(() => giveUp('time is up'), DEADLINE_MS)
        listeners.add(look)
        if (!look()) exited.then(() => giveUp('it ended'), reject)
      })
    },
  }
}

/** What a terminal does at Ctrl-C: every process of the group gets the signal. */
export function pressCtrlC({ pid }: TestProcess): void {
  process.kill(-pid, 'SIGINT')
}

/** The process and everything it started, directly or not. */
export async function findFamily(pid: number): Promise<number[]> {
  const children = await findChildren(pid)
  return [pid, ...(await Promise.all(children.map(findFamily))).flat()]
}

/** The process ids among these that are alive; one that has ended and was not collected is not. */
export async function findAlive(pids: readonly number[]): Promise<number[]> {
  const alive = await Promise.all(pids.map(isAlive))
  return pids.filter((_, index) => alive[index])
}

/** Resolves once none of these processes is alive. Rejects when some do not go. */
export async function waitUntilGone(pids: readonly number[]): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS
  for (;;) {
    const alive = await findAlive(pids)
    if (alive.length === 0) return
    if (performance.now() > deadline) throw new Error(`still alive: ${alive.join(', ')}`)
    await sleep(20)
  }
}

async function isAlive(pid: number): Promise<boolean> {
  if (await access('/proc/self/stat').then(() => true, () => false)) {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    return text !== '' && !/\) [ZX] /.test(text)
  }
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
