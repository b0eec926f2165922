/** Taskwire processes for tests: the command line, as a user runs it. All processes end with the test. */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { access, chmod, chown, cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { UserIds } from '../../src/services/embedded/server-process.js'
import { canExecute, findDefaultUser } from '../../src/services/embedded/service-user.js'
import type { RoleMessage } from '../../src/services/supervise/role-process.js'
import { BUNDLED_MAIN, MAIN } from './roles.js'
import { findChildren, readParents, type TestScope } from './services.js'

export { MAIN }
/** A folder of definitions, as a project would have it. */
export const OWN_TASKS = fileURLToPath(new URL('../../test/fixtures/tasks', import.meta.url))

/**
 * Creates a folder with only these modules of `OWN_TASKS`. Every process compiles the modules of its folder when it
 * starts, which takes longer than the rest of the start.
 */
export async function copyTasks(t: TestScope, ...names: readonly string[]): Promise<string> {
  const folder = await makeWorkingFolder(t)
  for (const name of names) await cp(join(OWN_TASKS, `${name}.ts`), join(folder, `${name}.ts`))
  return folder
}

/** Long enough for several starts at once on a busy machine with few processors. */
const DEADLINE_MS = 240_000

export interface ProcessOptions {
  /** Variables in addition to this process's PATH, HOME and TMPDIR; no others are inherited. */
  env?: Readonly<Record<string, string>>
  cwd?: string
  /** The user to run as. */
  user?: UserIds
  /** The arguments after `start`. */
  flags?: readonly string[]
  /** The command line to run instead of the bundled one. */
  main?: string
  /** The program to run instead of Node with the command line. */
  program?: string
  /** Whether to use a separate process group, as a terminal does: a signal to the negative id reaches all of it. */
  ownGroup?: boolean
}

interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

export interface TestProcess {
  readonly pid: number
  readonly exited: Promise<Exit>
  /** The output so far: standard output and standard error, together and separately. */
  output(): string
  stdout(): string
  stderr(): string
  /** Resolves with the match once the output contains it. Rejects with the output if the process ends first. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray>
  signal(signal: NodeJS.Signals): void
  /** Asks the process to stop, and kills it if it does not. */
  stop(): Promise<Exit>
}

/** Runs `taskwire <args>`. */
export function spawnTaskwire(t: TestScope, args: readonly string[], options: ProcessOptions = {}): TestProcess {
  return watchProcess(t, spawnMain(args, options, ['ignore', 'pipe', 'pipe']))
}

/** Runs one role and waits until it is ready; `address` is the address of the web role. */
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
  const inherited = Object.fromEntries(
    Object.entries({ PATH, HOME, TMPDIR }).filter(([, value]) => value !== undefined),
  )
  // tap adds its own hooks to NODE_OPTIONS; these processes must run as a user's would.
  const program = options.program === undefined ? [process.execPath, options.main ?? BUNDLED_MAIN] : [options.program]
  return spawn('/usr/bin/env', ['-u', 'NODE_OPTIONS', ...program, ...args], {
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
  // 'exit' rather than 'close': a child that outlives the process may keep its output open.
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
        const timer = setTimeout(() => giveUp('the time ran out'), DEADLINE_MS)
        listeners.add(look)
        if (!look()) exited.then(() => giveUp('it ended'), reject)
      })
    },
  }
}

/** Returns the process and all its descendants. */
export async function findFamily(pid: number): Promise<number[]> {
  // Read once: a machine has hundreds of processes, and a family dozens.
  const parents = [...(await readParents())]
  const familyOf = (id: number): number[] => [
    id,
    ...parents.filter(([, parent]) => parent === id).flatMap(([child]) => familyOf(child)),
  ]
  return familyOf(pid)
}

/** Returns the processes that are alive. A zombie is not. */
export async function findAlive(pids: readonly number[]): Promise<number[]> {
  const alive = await Promise.all(pids.map(isAlive))
  return pids.filter((_, index) => alive[index])
}

/** Resolves once none of these processes is alive. Rejects if some do not end. */
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
  if (
    await access('/proc/self/stat').then(
      () => true,
      () => false,
    )
  ) {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    return text !== '' && !/\) [ZX] /.test(text)
  }
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Creates a working folder. Services that run as another user can enter it unless `mode` says otherwise. */
export async function makeWorkingFolder(
  t: TestScope,
  options: { mode?: number; owner?: UserIds | undefined } = {},
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'taskwire-start-'))
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))
  if (options.owner !== undefined) await chown(folder, options.owner.uid, options.owner.gid)
  await chmod(folder, options.mode ?? 0o755)
  return folder
}

/** Runs `taskwire start` in this folder, on any free port unless the options name one. */
export function spawnStart(t: TestScope, cwd: string, options: ProcessOptions = {}): TestProcess {
  return spawnTaskwire(t, ['start', ...(options.flags ?? [])], { cwd, ...options, env: { PORT: '0', ...options.env } })
}

export interface StartedTaskwire extends TestProcess {
  /** For example `http://127.0.0.1:3000`. */
  address: string
  /** The ids of the process and all its descendants. */
  family: number[]
}

/** Runs `taskwire start` in this folder and waits for the end of its banner. */
export async function startEverything(
  t: TestScope,
  cwd: string,
  options: ProcessOptions = {},
): Promise<StartedTaskwire> {
  const started = spawnStart(t, cwd, options)
  const [, address = ''] = await started.waitFor(/Taskwire is ready: (http:\/\/\S+)[^]*Ctrl-C stops everything/)
  return { ...started, address, family: await findFamily(started.pid) }
}

/** Finds the child process whose command line matches. */
export async function findChild(pid: number, mark: RegExp): Promise<number> {
  for (const child of await findChildren(pid)) {
    const commandLine = (await readFile(`/proc/${child}/cmdline`, 'utf8')).replaceAll('\0', ' ')
    if (mark.test(commandLine)) return child
  }
  throw new Error(`process ${pid} has no child with ${mark}`)
}

/**
 * Returns the options to run as a user other than root. If that user cannot reach the project, they name a copy of it.
 */
export async function asOrdinaryUser(t: TestScope): Promise<ProcessOptions> {
  const user = await findDefaultUser()
  if (user === undefined) return {}
  if (canExecute(dirname(MAIN), user)) return { user }
  const copy = await makeWorkingFolder(t)
  const project = dirname(dirname(MAIN))
  for (const name of ['dist', 'drizzle', 'public', 'node_modules', 'package.json']) {
    await cp(join(project, name), join(copy, name), { recursive: true, verbatimSymlinks: true })
  }
  return { user, main: join(copy, 'dist', 'main.js') }
}

/** Returns the output of a process that must print exactly one line. */
export function oneLine(text: string): string {
  const lines = text.trim().split('\n')
  if (lines.length !== 1) throw new Error(`expected one line:\n${text}`)
  return lines[0] ?? ''
}

/** Creates a task without work. Rejects while the service cannot accept it. */
export async function createEmptyTask(address: string): Promise<string> {
  const body = JSON.stringify({ type: 'demo.sleep', payload: { steps: 0 } })
  const answer = await fetch(`${address}/api/tasks`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  if (answer.status !== 202) throw new Error(`${answer.status}: ${await answer.text()}`)
  return ((await answer.json()) as { id: string }).id
}

/** Resolves with the status of a task once it is final. It polls, because the processes in these tests come and go. */
export async function waitForEnd(address: string, id: string): Promise<string> {
  const deadline = performance.now() + DEADLINE_MS
  for (;;) {
    const answer = await fetch(`${address}/api/tasks/${id}`).catch(() => undefined)
    const { status } = answer?.ok === true ? ((await answer.json()) as { status: string }) : { status: 'unknown' }
    if (['COMPLETED', 'FAILED', 'CANCELLED', 'EXPIRED'].includes(status)) return status
    if (performance.now() > deadline) throw new Error(`task ${id} is ${status} after ${DEADLINE_MS / 1000} s`)
    await sleep(50)
  }
}

/** Whether the service accepts and completes a task before the deadline. */
export async function runsTasks(address: string): Promise<boolean> {
  const deadline = performance.now() + DEADLINE_MS
  for (;;) {
    const id = await createEmptyTask(address).catch(() => undefined)
    if (id !== undefined) return (await waitForEnd(address, id)) === 'COMPLETED'
    if (performance.now() > deadline) return false
    await sleep(50)
  }
}
