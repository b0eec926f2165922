#!/usr/bin/env node
/**
 * The command line. Each command imports its modules on demand, so that a process loads only what it runs.
 *
 * A start that cannot succeed prints clear lines without a stack and exits with 1; a wrong command exits with 2.
 */
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { describeUsage, FLAG_VARIABLES, readFlags, type Command, type Flags } from './command-line.js'
import { loadConfig } from './config.js'
import { describeDatabase, describeIgnored, readDatabaseUrl } from './db/database-url.js'
import { createRedactor } from './secrets.js'
import type { Started } from './services/start.js'
import {
  isSupervised,
  reportToSupervisor,
  runRole,
  type ServiceRole,
  type StartRole,
} from './services/supervise/run-role.js'
import { StartupError } from './startup-error.js'

const tasks = { tasks: { type: 'string' } } as const

/**
 * By how much the heap of a web process may grow between two collections, in percent. By default V8 adapts it to the
 * speed of collection: on a busy machine a heap with 65 MB of live objects grew to 300 MB. How much memory clients can
 * make the process use must not depend on the machine.
 */
const WEB_HEAP_GROWTH_PERCENT = 30

/** A handler that blocks the event loop of its worker for this long is named in the log. */
const LOOP_WARNING_MS = 1_000

const COMMANDS: Readonly<Record<string, Command>> = {
  start: {
    meaning: 'runs everything on this machine: web, worker and relay, and PostgreSQL and Redis unless given',
    options: { ...tasks, watch: { type: 'boolean' } },
    run: runStart,
  },
  web: { meaning: 'serves the REST API, live streams and the page', options: tasks, run: runWeb },
  worker: { meaning: 'runs tasks', options: { ...tasks, queues: { type: 'string' } }, run: runWorker },
  relay: { meaning: 'dispatches scheduled and unclaimed deliveries, rescues lost attempts', run: runRelay },
  migrate: { meaning: 'brings the database up to date', run: runMigrate },
  'webhook-secret': { meaning: 'prints the secret that signs callbacks', run: runWebhookSecret },
  schedules: { meaning: 'lists the schedules, and when each is due next', run: runSchedules },
  types: { meaning: 'lists the task types; checks a folder of tasks', options: tasks, run: runTypes },
  doctor: {
    meaning: 'finds what keeps tasks from moving; with --fix, fixes it',
    options: { fix: { type: 'boolean' } },
    run: runDoctor,
  },
  health: { meaning: 'checks that the services answer; for health checks of containers', run: runHealth },
  help: { meaning: 'prints this text', run: async () => console.log(describeUsage(COMMANDS)) },
}

const hideSecrets = createRedactor(process.env)

async function main(args: readonly string[]): Promise<void> {
  const [name = '', ...others] = args
  if (name === '--version' || name === '-v') return printVersion()
  if (args.includes('--help') || args.includes('-h')) return console.log(describeUsage(COMMANDS))
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) return refuse(name === '' ? 'which command?' : `there is no command ${name}`)
  const flags = readFlags(others, command)
  if (typeof flags === 'string') return refuse(`${name} ${flags}`)
  for (const [flag, variable] of Object.entries(FLAG_VARIABLES))
    if (typeof flags[flag] === 'string') process.env[variable] = flags[flag]
  return command.run(flags)
}

function refuse(mistake: string): void {
  console.error(`taskwire: ${mistake}\n\n${describeUsage(COMMANDS)}`)
  process.exitCode = 2
}

async function runWeb(): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${WEB_HEAP_GROWTH_PERCENT}`)
  const { startWeb } = await import('./web/web.js')
  const { failRunOf } = await import('./definitions/handler-scope.js')
  const { guardOwnProcess } = await import('./definitions/own-process.js')
  const start: StartRole<'web'> = (config, log) => {
    guardOwnProcess(log)
    return startWeb(config, log)
  }
  await runMigratedRole('web', start, failRunOf)
}

async function runWorker(): Promise<void> {
  const { startWorker } = await import('./worker/worker.js')
  const { watchLoop } = await import('./worker/loop-watch.js')
  const { failRunOf } = await import('./definitions/handler-scope.js')
  const { guardOwnProcess } = await import('./definitions/own-process.js')
  const start: StartRole<'worker'> = (config, log) => {
    guardOwnProcess(log)
    const { attemptLeaseSeconds, logLevel } = config
    const limits = { warnAfterMs: LOOP_WARNING_MS, killAfterMs: attemptLeaseSeconds * 1_000, logLevel }
    // Loading the modules may take longer than a lease on a busy machine, so the watch begins afterwards. It begins
    // before the first job, which may already block the loop for good.
    return startWorker(config, log, () => watchLoop(limits, log))
  }
  await runMigratedRole('worker', start, failRunOf)
}

async function runRelay(): Promise<void> {
  const { startRelay } = await import('./relay/relay.js')
  await runMigratedRole('relay', startRelay)
}

/**
 * Refuses to start a role without its tables, because it would be up but fail every request. A database that is away
 * may come back, so that is only logged.
 */
async function runMigratedRole<R extends ServiceRole>(
  role: R,
  startRole: StartRole<R>,
  isSomebodys?: Parameters<typeof runRole>[2],
): Promise<void> {
  const { countMissingMigrations } = await import('./db/migrate.js')
  const { PooledConnectionError } = await import('./db/pooler.js')
  const { UnfitDatabaseError } = await import('./db/writability.js')
  const start: StartRole<R> = async (config, log) => {
    const ignored = describeIgnored(readDatabaseUrl(config.databaseUrl))
    if (ignored !== undefined && !isSupervised()) log.warn(ignored)
    const answer = await countMissingMigrations(config.databaseUrl).catch((error: Error) => {
      if (error instanceof PooledConnectionError || error instanceof UnfitDatabaseError) throw error
      return error.message
    })
    if (typeof answer === 'number' && answer > 0)
      throw new StartupError(`the database lacks ${answer} migrations: run "taskwire migrate".`)
    const running = await startRole(config, log)
    if (typeof answer === 'string') log.warn(answer)
    return running
  }
  await runRole(role, start, isSomebodys)
}

async function runMigrate(): Promise<void> {
  const { databaseUrl } = loadConfig('migrate', process.env)
  const ignored = describeIgnored(readDatabaseUrl(databaseUrl))
  if (ignored !== undefined) console.log(ignored)
  await migrate(databaseUrl)
  console.log('The database is up to date.')
}

async function runStart({ watch = false }: Flags): Promise<void> {
  const config = loadConfig('start', process.env)
  const { start } = await import('./services/start.js')
  const { stopAtSignals } = await import('./services/supervise/stop-signals.js')
  const say = (line: string) => console.log(hideSecrets(line))
  let started: Started | undefined
  const signal = stopAtSignals(() => started, say)
  const options = {
    config,
    env: process.env,
    main: fileURLToPath(import.meta.url),
    say,
    migrate,
    checkRedis: (redisUrl: string) => checkRedis(redisUrl, config.databaseUrl ?? ''),
    signal,
    shouldWatch: watch === true,
  }
  await start(options, (handle) => (started = handle)).catch((error: unknown) => {
    // A cancelled start is not a failed one.
    if (!signal.aborted) throw error
  })
}

async function runWebhookSecret(): Promise<void> {
  const { databaseUrl } = loadConfig('migrate', await findServices())
  const { webhookSecret } = loadConfig('types', process.env)
  const { openDatabase } = await import('./db/open.js')
  const { readSecret } = await import('./store/secrets.js')
  const db = openDatabase(databaseUrl, { maxConnections: 1 })
  console.log(webhookSecret ?? (await readSecret(db, 'webhooks').catch(failInOneLine(databaseUrl))))
  await db.close()
}

async function runTypes(): Promise<void> {
  const config = loadConfig('types', process.env)
  const { loadRegistry } = await import('./handlers/load-registry.js')
  const registry = await loadRegistry(config)
  const { readDeclaredSchedules } = await import('./schedules/declared-schedules.js')
  const schedules = readDeclaredSchedules(registry)
  for (const { type, title } of registry.list()) console.log(`${type.padEnd(24)} ${title}`)
  for (const { name, spec } of schedules)
    console.log(`${name.padEnd(24)} creates ${spec.task.type ?? registry.defaultType}`)
}

/** Prints one line per schedule. */
async function runSchedules(): Promise<void> {
  const { databaseUrl } = loadConfig('migrate', await findServices())
  const { openDatabase } = await import('./db/open.js')
  const { listScheduleLines } = await import('./schedules/list-lines.js')
  const db = openDatabase(databaseUrl, { maxConnections: 1 })
  for (const line of await listScheduleLines(db).catch(failInOneLine(databaseUrl))) console.log(line)
  await db.close()
}

/** Prints one line per finding. Exit code 1 when something needs fixing. */
async function runDoctor({ fix = false }: Flags): Promise<void> {
  const { databaseUrl, redisUrl } = loadConfig('relay', await findServices())
  const { examine } = await import('./doctor/doctor.js')
  const findings = await examine({ databaseUrl, redisUrl, shouldFix: fix === true })
  for (const { state, text } of findings) console.log(hideSecrets(`${state.padEnd(6)}  ${text}`))
  if (findings.some(({ state }) => state === 'bad')) process.exitCode = 1
}

/** One round trip to each service. Exit code 1 and one line when one does not answer. */
async function runHealth(): Promise<void> {
  const { databaseUrl, redisUrl } = loadConfig('relay', await findServices())
  const { openBroker } = await import('./broker/open-broker.js')
  const { openDatabase } = await import('./db/open.js')
  const db = openDatabase(databaseUrl, { maxConnections: 1 })
  const broker = await openBroker({ redisUrl, databaseUrl, log: { info: () => {}, warn: () => {} } })
  await Promise.all([broker.ping(), db.run({ name: 'health', text: 'select 1' }, []).catch(failInOneLine(databaseUrl))])
  await Promise.all([broker.close(), db.close()])
}

/** The environment. Unless it names the services, adds the addresses of a `start` that runs in this folder. */
async function findServices(): Promise<NodeJS.ProcessEnv> {
  const { withLocalServices } = await import('./services/embedded/local-services.js')
  return withLocalServices(process.env)
}

/** Reports the server's reason only: the stack would not help. */
function failInOneLine(databaseUrl: string): (error: unknown) => never {
  return (error) => {
    throw new StartupError(
      `cannot use PostgreSQL at ${describeDatabase(databaseUrl)}: ${error instanceof Error ? error.message : String(error)}`,
    )
  }
}

/** Prepares the database for both brokers, because each start may use either one. */
async function migrate(databaseUrl: string): Promise<void> {
  const { migrateDatabase } = await import('./db/migrate.js')
  await migrateDatabase(databaseUrl)
  const { migrateBroker } = await import('./broker/open-broker.js')
  await migrateBroker(databaseUrl)
}

/** Reports a wrong REDIS_URL at once, before anything is started for it. */
async function checkRedis(redisUrl: string, databaseUrl: string): Promise<void> {
  const { openBroker } = await import('./broker/open-broker.js')
  const silent = { info: () => {}, warn: () => {} }
  const broker = await openBroker({ redisUrl, databaseUrl, log: silent }).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error)
    throw new StartupError(`${reason.replace(/\.$/, '')}. Check REDIS_URL and that the server runs.`)
  })
  await broker.close()
}

async function printVersion(): Promise<void> {
  const { readPackageVersion } = await import('./version.js')
  console.log(readPackageVersion())
}

/** Reports the error, to the supervisor if there is one, and ends the process. */
async function fail(error: unknown): Promise<never> {
  const isClear = error instanceof StartupError
  const message = hideSecrets(
    isClear ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error),
  )
  if (isSupervised()) await reportToSupervisor({ type: 'failed', message })
  else console.error(isClear ? message.replace(/^/gm, 'taskwire: ') : message)
  process.exit(1)
}

// The reader of the output may be gone: a closed terminal, the end of a pipe.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})
main(process.argv.slice(2)).catch(fail)
