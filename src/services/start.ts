/**
 * `taskwire start`: everything on one machine, from scratch.
 *
 * Order: data folder and its lock → leftovers of a killed start → the port → PostgreSQL → Redis → migrations → the
 * roles → the banner. The first failure ends the start with one line, after stopping everything that was started. A
 * stop goes web, worker, relay, Redis, PostgreSQL, so that each has what it needs for an orderly end.
 *
 * With both DATABASE_URL and REDIS_URL there is no data to keep: no data folder is created or locked.
 */
import { execFile } from 'node:child_process'
import { realpath } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { type StartConfig } from '../config.js'
import { describeDatabase, describeIgnored, readDatabaseUrl } from '../db/database-url.js'
import { StartupError } from '../startup-error.js'
import { describeBanner, type Addresses } from './banner.js'
import { lockDataDir } from './embedded/data-lock.js'
import { noteLocalServices } from './embedded/local-services.js'
import { startPostgres } from './embedded/postgres.js'
import { findRedisServer, startRedis } from './embedded/redis.js'
import type { RunningServer } from './embedded/server-process.js'
import {
  assertWritableFolder,
  findServiceLocation,
  tightenDataFolder,
  type ServiceLocation,
} from './embedded/service-user.js'
import { assertPortFree } from './supervise/listen-port.js'
import { createRoleRecord, launchRole, type RoleRecord } from './supervise/role-process.js'
import { createSupervisor, type Launched, type Part, type Supervisor } from './supervise/supervisor.js'
import { watchFolder } from './supervise/watch-folder.js'

export interface StartOptions {
  config: StartConfig
  env: NodeJS.ProcessEnv
  /** The module of the command line, which runs the roles. */
  main: string
  /** Prints lines for the user. */
  say(line: string): void
  migrate(databaseUrl: string): Promise<void>
  /** Rejects with a one-line message when the Redis at this URL does not answer. */
  checkRedis(redisUrl: string): Promise<void>
  /** Aborts when a stop is requested before everything is up. */
  signal: AbortSignal
  /** Whether web and worker restart when a file in TASKS_DIR changes. */
  shouldWatch: boolean
}

export interface Started {
  /** Stops everything in order. Idempotent. */
  stop(): Promise<void>
  /** Stops everything as fast as possible. */
  kill(): Promise<void>
}

type Services = Addresses & {
  /** The folder with the data of the embedded PostgreSQL. */
  databaseFolder: string | undefined
}

/** How long a role may take, beyond the grace of the worker's attempts. */
const STOP_MARGIN_MS = 10_000
/** How long the roles of a killed start may take to end when there is no record of them. */
const PORT_PATIENCE_MS = 2_000

/**
 * Starts everything. `onSupervisor` receives the handle for stopping before the first part starts.
 * @throws StartupError with a one-line message, after stopping everything that was started
 */
export async function start(options: StartOptions, onSupervisor: (started: Started) => void): Promise<void> {
  const { config, signal } = options
  if (options.shouldWatch && config.tasksDir === undefined)
    throw new StartupError('--watch needs a folder of tasks. Add --tasks DIR')
  const supervisor = createSupervisor({ say: options.say })
  const keepsData = config.databaseUrl === undefined || config.redisUrl === undefined
  const data = keepsData ? await openDataFolder(config.dataDir) : undefined
  let forgetServices = async () => {}
  const stop = async () => {
    await forgetServices()
    await supervisor.stop()
    await data?.lock.release()
  }
  onSupervisor({ stop, kill: () => supervisor.kill() })
  try {
    await assertPortFree(config.host, config.port, keepsData ? 0 : PORT_PATIENCE_MS)
    const place = data === undefined ? undefined : await findServiceLocation(data.folder)
    const services = await startServices(options, supervisor, place)
    if (data !== undefined) forgetServices = await noteLocalServices(data.folder, services)
    signal.throwIfAborted()
    options.say('Migrating the database')
    await options.migrate(services.databaseUrl)
    signal.throwIfAborted()
    options.say('Starting relay, worker and web')
    const address = await startRoles(options, supervisor, services, data?.record)
    for (const line of describeBanner({ address, ...services })) options.say(line)
    if (options.shouldWatch) watchTasks(options, supervisor)
  } catch (error) {
    await stop()
    throw error
  }
}

/** Creates the data folder, locks it and ends the roles that a killed start left behind. */
async function openDataFolder(dataDir: string) {
  await assertWritableFolder(resolve(dataDir))
  const folder = await realpath(dataDir)
  await tightenDataFolder(folder)
  const lock = await lockDataDir(folder)
  const record = createRoleRecord(folder)
  await record.stopLeftovers()
  return { folder, lock, record }
}

async function startServices(
  options: StartOptions,
  supervisor: Supervisor,
  place: ServiceLocation | undefined,
): Promise<Services> {
  const { say, signal } = options
  if (place?.reason !== undefined) say(`Data and programs of the services are in ${place.folder}: ${place.reason}.`)
  const postgres = await startDatabase(options, supervisor, place)
  signal.throwIfAborted()
  const redis = await startBroker(options, supervisor, place)
  return {
    databaseUrl: postgres.url,
    database: postgres.label,
    databaseFolder: postgres.folder,
    redisUrl: redis?.url,
    redis: redis?.label,
  }
}

async function startDatabase(
  { config, say }: StartOptions,
  supervisor: Supervisor,
  place: ServiceLocation | undefined,
) {
  if (config.databaseUrl !== undefined || place === undefined) {
    const url = config.databaseUrl ?? ''
    const ignored = describeIgnored(readDatabaseUrl(url))
    if (ignored !== undefined) say(ignored)
    return { url, label: `${describeDatabase(url)} (DATABASE_URL)`, folder: undefined }
  }
  const { user } = place
  const folder = join(place.folder, 'postgres')
  say('Starting PostgreSQL')
  const url = await addServer(supervisor, 'PostgreSQL', (port) => startPostgres({ folder, user, port }))
  return { url, label: `its own, data in ${folder}`, folder }
}

async function startBroker(
  { config, checkRedis, say }: StartOptions,
  supervisor: Supervisor,
  place: ServiceLocation | undefined,
) {
  if (config.redisUrl !== undefined || place === undefined) {
    const url = config.redisUrl ?? ''
    await checkRedis(url)
    return { url, label: `${describeServer(url)} (REDIS_URL)` }
  }
  const program = await findRedisServer()
  if (program === undefined) return undefined
  const { user } = place
  const folder = join(place.folder, 'redis')
  say('Starting Redis')
  const url = await addServer(supervisor, 'Redis', (port) => startRedis({ program, folder, user, port }))
  return { url, label: `its own (${program}), data in ${folder}` }
}

/** Keeps a service running, always on the port of its first start, so that its URL stays valid for the roles. */
async function addServer(
  supervisor: Supervisor,
  name: string,
  startOn: (port?: number) => Promise<RunningServer>,
): Promise<string> {
  let url = ''
  let port: number | undefined
  const part: Part = {
    name,
    launch() {
      const starting = startOn(port)
      return launchServer(
        starting.then((server) => {
          ;({ port, url } = server)
          return server
        }),
      )
    },
  }
  await supervisor.add(part)
  return url
}

function launchServer(starting: Promise<RunningServer>): Launched {
  const settled = starting.catch(() => undefined)
  return {
    ready: starting.then(() => {}),
    exited: settled.then((server) => server?.exited ?? 'it did not start'),
    stop: async () => (await settled)?.stop(),
    kill: async () => (await settled)?.kill(),
  }
}

/** Starts the three roles at once and returns the address of the web process. */
async function startRoles(
  options: StartOptions,
  supervisor: Supervisor,
  services: Services,
  record: RoleRecord | undefined,
): Promise<string> {
  const { config, main } = options
  let address = ''
  const env = { ...options.env, ...roleEnvironment(options, services) }
  const rolePart = (role: string, onReady: (address: string | undefined) => void): Part => ({
    name: role,
    launch: () =>
      launchRole({
        main,
        role,
        env,
        mark: record?.mark,
        stopDeadlineMs: config.shutdownGraceSeconds * 1000 + STOP_MARGIN_MS,
        onSpawn: (pid) => record?.add(role, pid),
        onReady,
      }),
  })
  const onWebReady = (given = '') => {
    address = given
    // Port 0 means any port: a restarted web process must be where its clients expect it.
    env['PORT'] = new URL(given).port || env['PORT']
  }
  await Promise.all([
    supervisor.add(rolePart('relay', () => {})),
    supervisor.add(rolePart('worker', () => {})),
    supervisor.add(rolePart('web', onWebReady)),
  ])
  return address
}

/** New code replaces the old if it loads; otherwise the old code keeps running. */
function watchTasks({ config, env, main, say }: StartOptions, supervisor: Supervisor): void {
  const { tasksDir = '' } = config
  watchFolder(tasksDir, async () => {
    const problem = await checkTypes(main, env)
    if (problem !== undefined) return say(`Ignoring the change: ${problem}`)
    say(`A file in ${tasksDir} has changed; restarting web and worker`)
    await Promise.all([supervisor.restart('worker'), supervisor.restart('web')])
  })
}

/**
 * Checks the folder of tasks in a separate process, so that nothing is loaded twice here. Returns what is wrong with
 * it.
 */
async function checkTypes(main: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const run = promisify(execFile)
  return run(process.execPath, [main, 'types'], { env }).then(
    () => undefined,
    (error: { stderr?: string; message: string }) => (error.stderr ?? error.message).trim(),
  )
}

/** An empty variable counts as unset. */
function roleEnvironment({ config, env }: StartOptions, services: Services): NodeJS.ProcessEnv {
  return {
    DATABASE_URL: services.databaseUrl,
    REDIS_URL: services.redisUrl ?? '',
    LOG_LEVEL: config.logLevel,
    WATCHED_DIRS: [env['WATCHED_DIRS'], services.databaseFolder].filter(Boolean).join(),
    // Next to the other data, unless configured otherwise.
    ...(env['ARTIFACTS_DIR'] ? {} : { ARTIFACTS_DIR: join(config.dataDir, 'artifacts') }),
    ...(env['EMAIL_DIR'] ? {} : { EMAIL_DIR: join(config.dataDir, 'emails') }),
  }
}

/** A server's URL without its password. */
function describeServer(url: string): string {
  const { host, pathname } = new URL(url)
  return `${host}${pathname === '/' ? '' : pathname}`
}
