/**
 * The private Redis: a `redis-server` or `valkey-server` found on PATH, on 127.0.0.1, for one data folder.
 *
 * Order of a start: stop a server left over on this folder (two on one append-only file would corrupt it) → write the
 * configuration, which holds the password and is readable by the services' user only → start → wait until it has read
 * its file and answers PING. A port that was taken meanwhile is handled as in `postgres.ts`.
 *
 * Losing this data only costs time, because PostgreSQL is the source of truth. So a file that Redis cannot read is one
 * clear message rather than a disaster.
 *
 * Files in the folder: `redis.conf`, `redis.pid`, `server.log`, the append-only file.
 */
import { randomBytes } from 'node:crypto'
import { access, chown, constants, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { StartupError } from '../../startup-error.js'
import { findFreePort, isPortTaken, readLogTail, runProgram, spawnServer, stopLeftover } from './server-process.js'
import type { RunningServer, ServerProcess, StopPlan, UserIds } from './server-process.js'
import { makePrivateFolder } from './service-user.js'

export interface RedisOptions {
  /** The program, as returned by `findRedisServer`. */
  program: string
  /** Holds configuration, data and log. Created when absent. */
  folder: string
  /** The user to run as; see `findServiceLocation`. Default: the current user. */
  user?: UserIds | undefined
  /** Default: any free port. */
  port?: number | undefined
}

const PROGRAMS = ['redis-server', 'valkey-server']
/** The minimum version that BullMQ requires. */
const MINIMUM_VERSION = { major: 6, minor: 2 }
const START_DEADLINE_MS = 60_000

/** SIGTERM writes the append-only file to disk and exits. */
const STOP_PLAN: StopPlan = [
  ['SIGTERM', 10_000],
  ['SIGKILL', 5_000],
]
const KILL_PLAN: StopPlan = [
  ['SIGTERM', 1_000],
  ['SIGKILL', 5_000],
]

/** The path of a `redis-server` or `valkey-server` on PATH that is recent enough. */
export async function findRedisServer(path = process.env['PATH'] ?? ''): Promise<string | undefined> {
  for (const program of PROGRAMS) {
    for (const folder of path.split(delimiter).filter((part) => part !== '')) {
      const file = join(folder, program)
      if (await isUsable(file)) return file
    }
  }
  return undefined
}

/** Asking for the version also shows whether the program runs on this machine. */
async function isUsable(program: string): Promise<boolean> {
  const isProgram = await access(program, constants.X_OK).then(
    () => true,
    () => false,
  )
  if (!isProgram) return false
  const answer = await runProgram(program, ['--version'], { folder: '/' }).catch(() => '')
  const [, major = 0, minor = 0] = (/v=(\d+)\.(\d+)/.exec(answer) ?? []).map(Number)
  return major > MINIMUM_VERSION.major || (major === MINIMUM_VERSION.major && minor >= MINIMUM_VERSION.minor)
}

/** Starts the server on the data in `folder`. @throws StartupError with a one-line message */
export async function startRedis(options: RedisOptions): Promise<RunningServer> {
  const { folder, user } = options
  await makePrivateFolder(folder, user)
  const configFile = join(folder, 'redis.conf')
  const before = await readFile(configFile, 'utf8').catch(() => '')
  await stopLeftoverRedis(folder, readDirective(before, 'port'))
  // The password is kept, so that the URL of a restarted server stays the same.
  const password = readDirective(before, 'requirepass') ?? randomBytes(24).toString('hex')
  const deadline = performance.now() + START_DEADLINE_MS
  for (;;) {
    const port = options.port ?? (await findFreePort())
    await writeFile(configFile, configText(folder, port, password), { mode: 0o600 })
    if (user !== undefined) await chown(configFile, user.uid, user.gid)
    const logFile = join(folder, 'server.log')
    const server = await spawnServer(options.program, [configFile], { folder, logFile, user })
    if (await becomesReady(server, port, password, deadline)) return describeServer(server, port, password)
    await server.stop([['SIGKILL', 5_000]])
    const wasPortTaken =
      (await isPortTaken(port)) || (await readFile(logFile, 'utf8').catch(() => '')).includes('in use')
    if (!wasPortTaken || performance.now() > deadline) {
      const reason = await readLogTail(logFile)
      throw new StartupError(
        `Redis does not start: ${reason} (its log: ${logFile}). If its data is damaged, delete ${folder}; no tasks are lost.`,
      )
    }
    await sleep(100)
  }
}

function describeServer(server: ServerProcess, port: number, password: string): RunningServer {
  return {
    url: `redis://:${password}@127.0.0.1:${port}`,
    port,
    pid: server.pid,
    exited: server.exited,
    stop: () => server.stop(STOP_PLAN),
    kill: () => server.stop(KILL_PLAN),
  }
}

function configText(folder: string, port: number, password: string): string {
  const directives = {
    bind: '127.0.0.1',
    port: String(port),
    requirepass: password,
    dir: JSON.stringify(folder),
    pidfile: JSON.stringify(join(folder, 'redis.pid')),
    daemonize: 'no',
    save: '""',
    appendonly: 'yes',
    appendfsync: 'everysec',
    'maxmemory-policy': 'noeviction',
  }
  return Object.entries(directives)
    .map(([name, value]) => `${name} ${value}\n`)
    .join('')
}

function readDirective(text: string, name: string): string | undefined {
  return new RegExp(`^${name} (.+)$`, 'm').exec(text)?.[1]
}

async function stopLeftoverRedis(folder: string, port: string | undefined): Promise<void> {
  const pidFile = join(folder, 'redis.pid')
  const pid = Number.parseInt(await readFile(pidFile, 'utf8').catch(() => ''), 10)
  if (Number.isNaN(pid)) return
  // Once running, Redis shows its address instead of its arguments in the process list.
  const marks = [join(folder, 'redis.conf'), ...(port === undefined ? [] : [`127.0.0.1:${port}`])]
  await stopLeftover(pid, marks, STOP_PLAN)
  await rm(pidFile, { force: true })
}

async function becomesReady(server: ServerProcess, port: number, password: string, deadline: number): Promise<boolean> {
  while (!server.hasExited() && performance.now() < deadline) {
    const answer = await askRedis(port, password, 'PING').catch(() => '')
    if (answer.startsWith('+PONG')) return true
    await sleep(10)
  }
  return false
}

/**
 * Sends one command without spaces in its arguments and returns the raw answer (RESP). Rejects when the server does not
 * accept the password, so an answer proves that it is the intended server.
 */
export function askRedis(port: number, password: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = ''
    const socket = connect({ port, host: '127.0.0.1' }, () => socket.write(`AUTH ${password}\r\n${command}\r\n`))
    socket.setEncoding('utf8')
    socket.setTimeout(2_000, () => socket.destroy(new Error('no answer')))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('closed')))
    socket.on('data', (text: string) => {
      received += text
      const [auth, answer] = received.split('\r\n')
      if (auth !== '+OK') socket.destroy(new Error('not the intended server'))
      else if (answer !== undefined && answer !== '') {
        resolve(answer)
        socket.destroy()
      }
    })
  })
}
