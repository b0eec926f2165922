/** The configuration: one schema per role, read from the environment once, at start. Everything that is wrong is reported at once. */
import { isIP, isIPv4 } from 'node:net'
import { domainToASCII } from 'node:url'
import { Type, type Static } from 'typebox'
import { isDatabaseUrl } from './db/database-url.js'
import { annotationsOf, ConfigError, readEnvironment, splitList, variableName, type ConfigProblem, type Environment } from './environment.js'

/** An integer within bounds, both included. */
function integer(minimum: number, maximum: number, initial: number, description: string) {
  return Type.Integer({
    minimum,
    maximum,
    default: initial,
    description,
    expected: `a whole number from ${minimum} to ${maximum}`,
  })
}

/** The URL of a server, of one of these schemes. It may hold a password, so it is never printed. */
function serverUrl(schemes: readonly string[], example: string, description: string) {
  const isUrl = (value: string) => URL.canParse(value) && schemes.includes(new URL(value).protocol.slice(0, -1)) && isUnambiguous(new URL(value))
  const expected = `a URL such as ${example}, with @ / ? # % in user or password percent-encoded`
  return Type.Refine(Type.String({ description, expected, isSecret: true }), isUrl)
}

/**
 * A password with a `/`, `?`, `#` or `@` that is not percent-encoded ends up in path, query or host, from where it would be shown
 * as the name of a database or of a host that cannot be found.
 */
function isUnambiguous({ host, pathname, search, hash, username, password }: URL): boolean {
  const isDecodable = [username, password, pathname].every((part) => /^(?:[^%]|%[0-9a-f]{2})*$/i.test(part) && canDecode(part))
  return host !== '' && hash === '' && isDecodable && !/[@:]|^\/.*\//.test(pathname) && !search.includes('@')
}

/** The same for the URL of a database, where host, user and database may be missing. */
function isUnambiguousDatabase(text: string): boolean {
  const [, userInfo = '', host = '', path = '', search = '', hash = ''] = /^[a-z]+:\/\/(?:([^/?#]*)@)?([^/?#@]*)([^?#]*)(\?[^#]*)?(#.*)?$/i.exec(text) ?? []
  const isDecodable = [userInfo, path].every((part) => /^(?:[^%]|%[0-9a-f]{2})*$/i.test(part) && canDecode(part))
  // A password without a host is one that has swallowed it.
  const hasHost = host !== '' || !userInfo.includes(':') || /[?&]host=/.test(search)
  return hasHost && hash === '' && isDecodable && !/[@:]|^\/.*\//.test(path) && !search.includes('@')
}

function canDecode(text: string): boolean {
  try {
    return decodeURIComponent(text) !== undefined
  } catch {
    return false
  }
}

/** The names in WORKER_QUEUES, each with its number. */
export function readWorkerQueues(text: string): Map<string, number> {
  return new Map(splitList(text).map((part) => [part.split(':')[0] ?? '', Number(part.split(':')[1])]))
}

/** An address, a network, or a name that Fastify knows for some. A network of everything would be no list. */
function isProxyAddress(text: string): boolean {
  const [address = '', bits, ...others] = text.split('/')
  if (bits === undefined) return ['loopback', 'linklocal', 'uniquelocal'].includes(text) || isIP(address) !== 0
  return others.length === 0 && isIP(address) !== 0 && /^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= (isIPv4(address) ? 32 : 128)
}

function logLevel(initial: string) {
  const levels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
  return Type.Enum([...levels], {
    default: initial,
    description: 'what is logged: this level and those above it',
    expected: `one of ${levels.join(', ')}`,
  })
}

const databaseUrl = Type.Refine(
  Type.String({
    description: 'the PostgreSQL database, version 14 or newer; `start` brings one of its own when unset',
    expected: 'a URL such as postgres://user:password@host:5432/database, with @ / ? # % in user or password percent-encoded',
    isSecret: true,
  }),
  (value) => isDatabaseUrl(value) && isUnambiguousDatabase(value),
)
const redisUrl = Type.Refine(
  serverUrl(
    ['redis', 'rediss'],
    'redis://:password@host:6379/0 (rediss:// for TLS)',
    'the Redis that carries tasks to workers; without one PostgreSQL does, and `start` brings one of its own where redis-server or valkey-server is installed',
  ),
  // The client would ask for the database NaN, and end the process.
  (value) => !URL.canParse(value) || /^\/?\d{0,4}$/.test(new URL(value).pathname),
)
const host = Type.String({
  pattern: '^[A-Za-z0-9._:%-]+$',
  default: '127.0.0.1',
  description: 'the address to listen on; 0.0.0.0 for every network of the machine',
  expected: 'a host name or IP address, such as 127.0.0.1',
})
const port = integer(0, 65535, 3000, 'the port to listen on; 0 for any free one')
const idempotencyKeyTtlHours = integer(1, 24 * 366, 24, 'how long an Idempotency-Key stands for the task that it made')
const databasePoolSize = integer(1, 100, 10, 'database connections of the web process for what changes tasks, and for reading one')
const databaseReadPoolSize = integer(2, 100, 6, 'database connections of the web process for streams and lists, which take no others')
const workerConcurrency = integer(1, 1000, 128, 'attempts that one worker runs at the same time')
const attemptLeaseSeconds = integer(
  3,
  3600,
  15,
  'how long an attempt is trusted without a sign of life from its worker',
)
const cancelGraceSeconds = integer(0, 600, 5, 'how long a handler may take to end after its task was cancelled, before it is left behind')
const typeWindowSeconds = integer(
  0,
  30 * 86_400,
  3600,
  'how long a task waits for a worker that knows its type, as in a rolling deploy, before it is FAILED',
)
const queues = Type.Refine(
  Type.String({
    default: '',
    description: 'queues that tasks may ask for, besides those of the types and of WORKER_QUEUES',
    expected: 'names with commas between, such as reports,emails',
  }),
  (value) => splitList(value).every((name) => /^[a-z][a-z0-9-]{0,49}$/.test(name)),
)
const workerQueues = Type.Refine(
  Type.String({
    default: '',
    description: 'the queues that a worker serves, each with how many attempts at the same time; all queues when empty. Tasks may ask for these, too',
    expected: 'names with numbers, such as reports:4,emails:16',
  }),
  (value) => splitList(value).every((part) => /^[a-z][a-z0-9-]{0,49}:[1-9][0-9]{0,2}$/.test(part)),
)
const shutdownGraceSeconds = integer(
  0,
  600,
  10,
  'how long a stopping worker lets attempts go on before it hands them back',
)
const relayIntervalMs = integer(50, 10_000, 250, 'the pause between two looks for deliveries that are due')
const claimWindowSeconds = integer(
  1,
  300,
  5,
  'how long a delivery may stay unclaimed before the relay hands it over again',
)
const maxLostAttempts = integer(1, 100, 3, 'after so many attempts that were alone in a worker that was lost a task is FAILED')
const brokerWindow = integer(100, 1_000_000, 10_000, 'jobs kept in the broker at most; more wait in PostgreSQL')
const httpRequestAllowPrivate = Type.Boolean({
  default: false,
  description: 'whether http.request tasks and callbacks may reach private and loopback addresses',
  expected: 'true or false',
})
const webhookSecret = Type.String({
  pattern: '^whsec_[A-Za-z0-9+/]{32,88}={0,2}$',
  description: 'what callbacks are signed with; when unset, one that the database keeps: see `taskwire webhook-secret`',
  expected: 'whsec_ and 24 to 64 bytes in base64',
  isSecret: true,
})
const maxStreamsPerAddress = integer(1, 1_000_000, 1_000, 'streams that one address may hold open')
const maxStreamsPerKey = integer(1, 1_000_000, 1_000, 'streams that one key (Authorization: Bearer …) may hold open, from any address')
const maxStreams = integer(1, 1_000_000, 20_000, 'streams that one web process holds open')
const streamHeartbeatSeconds = integer(1, 20, 15, 'how long a stream is silent at most: then it says a heartbeat. Clients take 30 s of silence for a dead connection')
const maxConnections = integer(10, 1_000_000, 25_000, 'connections that one web process holds open, streams among them; over it the one that is idle for longest is closed')
const requestTimeoutSeconds = integer(1, 600, 15, 'how long a client may take to send the head of a request, and its JSON body; uploads must only keep a rate')
const keepAliveSeconds = integer(1, 3_600, 30, 'how long an idle connection is kept; longer than a proxy in front keeps its idle ones')
const maxBodyMemoryBytes = integer(8_388_608, 68_719_476_736, 67_108_864, 'memory of one web process for JSON bodies that are being received')
const maxUnreadMemoryBytes = integer(8_388_608, 68_719_476_736, 67_108_864, 'memory of one web process for answers that clients have not read')
const allowedOrigins = Type.Refine(
  Type.String({
    default: '',
    description: 'web pages of other origins that may use the server, with commas between; * for all',
    expected: '* or origins such as https://app.example.com, with commas between',
  }),
  (value) => value === '*' || splitList(value).every((origin) => URL.canParse(origin) && new URL(origin).origin === origin),
)
const allowedHosts = Type.Refine(
  Type.String({
    default: '',
    description: 'names that the server answers to, besides localhost, HOST and IP addresses, with commas between; * for any',
    expected: '* or host names such as tasks.example.com, with commas between, without scheme and port',
  }),
  (value) => splitList(value).every((name) => name === '*' || (/^[^:/?#@*\s]+$/.test(name) && domainToASCII(name) !== '')),
)
const trustProxy = Type.Refine(
  Type.String({
    default: '',
    description: 'addresses of the reverse proxies in front, with commas between: whose X-Forwarded-For, -Proto and -Host are believed',
    expected:
      'addresses or networks such as 10.0.0.5,172.16.0.0/12, or loopback, linklocal, uniquelocal; empty without a proxy. ' +
      'A number of hops or true would let every client choose its own address',
  }),
  (value) => splitList(value).every(isProxyAddress),
)
const basePath = Type.String({
  pattern: '^((?!/(api|ws|docs|files|page)(/|$))/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$|^$',
  default: '',
  description: 'the path that a reverse proxy serves everything under, such as /taskwire, whether it strips it or not',
  expected: 'a path such as /taskwire, without a slash at its end; not one of the server\'s own (/api, /ws, /docs, /files, /page)',
})
const tasksDir = Type.String({
  minLength: 1,
  description: 'a folder with types of tasks of your own, JavaScript or TypeScript; the same as --tasks',
  expected: 'the path of a folder',
})
const artifactsDir = Type.Refine(
  Type.String({
    minLength: 1,
    default: '.taskwire/artifacts',
    description: 'where the files of tasks lie: a folder that web and worker share, or s3://bucket/prefix (?endpoint=https://… for stores other than Amazon)',
    expected: 'the path of a folder, or a URL such as s3://bucket/prefix',
  }),
  (value) => !value.startsWith('s3://') || (URL.canParse(value) && new URL(value).host !== ''),
)
const minFreeDiskMb = integer(
  0,
  1_000_000_000,
  512,
  'the free space, in MB, below which the disk takes no more uploads and files of tasks (507, failure disk_full), while tasks are accepted; 0 for no limit',
)
const watchedDirs = Type.String({
  default: '',
  description: 'further folders, with commas between, of whose disks /readyz says when MIN_FREE_DISK_MB is reached; `start` adds the data of its own PostgreSQL',
  expected: 'paths of folders, with commas between',
})
const artifactTtlHours = integer(1, 24 * 3660, 24 * 30, 'how long the files of tasks are kept')
const dataDir = Type.String({
  minLength: 1,
  default: '.taskwire',
  description: 'where `start` keeps the data of its own PostgreSQL and Redis, seen from the working folder',
  expected: 'the path of a folder',
})

const everyRole = { databaseUrl, redisUrl: Type.Optional(redisUrl), logLevel: logLevel('info') }
const smtpUrl = serverUrl(['smtp', 'smtps'], 'smtp://user:password@host:587', 'the mail server of email.send; without one messages become files in EMAIL_DIR')
const emailFrom = Type.String({
  pattern: '^[^\\s@]+@[^\\s@]+$',
  default: 'taskwire@localhost.localdomain',
  description: 'who sends e-mails that name no sender',
  expected: 'an address such as tasks@example.com',
})
const emailDir = Type.String({ minLength: 1, default: '.taskwire/emails', description: 'where e-mails go without SMTP_URL', expected: 'the path of a folder' })
const artifacts = { artifactsDir, artifactTtlHours, minFreeDiskMb }
const definitions = { basePath, tasksDir: Type.Optional(tasksDir), queues, workerQueues, httpRequestAllowPrivate, webhookSecret: Type.Optional(webhookSecret), smtpUrl: Type.Optional(smtpUrl), emailFrom, emailDir }
const streams = { maxStreamsPerAddress, maxStreamsPerKey, maxStreams, streamHeartbeatSeconds, trustProxy, allowedHosts, allowedOrigins }
const connections = { maxConnections, requestTimeoutSeconds, keepAliveSeconds, maxBodyMemoryBytes, maxUnreadMemoryBytes }
const web = { host, port, databasePoolSize, databaseReadPoolSize, idempotencyKeyTtlHours, claimWindowSeconds, brokerWindow, ...definitions, ...artifacts, watchedDirs, ...streams, ...connections }
const worker = { workerConcurrency, typeWindowSeconds, cancelGraceSeconds, attemptLeaseSeconds, shutdownGraceSeconds, ...definitions, ...artifacts }
const relay = { relayIntervalMs, claimWindowSeconds, brokerWindow, maxLostAttempts, artifactsDir }

export const WebConfig = Type.Object({ ...everyRole, ...web })
export type WebConfig = Static<typeof WebConfig>

export const WorkerConfig = Type.Object({ ...everyRole, ...worker })
export type WorkerConfig = Static<typeof WorkerConfig>

export const RelayConfig = Type.Object({ ...everyRole, ...relay })
export type RelayConfig = Static<typeof RelayConfig>

export const MigrateConfig = Type.Object({ databaseUrl, logLevel: logLevel('info') })
export type MigrateConfig = Static<typeof MigrateConfig>

export const TypesConfig = Type.Object({ ...definitions, logLevel: logLevel('info') })
export type TypesConfig = Static<typeof TypesConfig>

/** Everything the roles take, as `start` hands it on to them. Its own lines say what matters, so the roles log less. */
export const StartConfig = Type.Object({
  ...everyRole,
  ...web,
  ...worker,
  ...relay,
  databaseUrl: Type.Optional(databaseUrl),
  logLevel: logLevel('warn'),
  dataDir,
})
export type StartConfig = Static<typeof StartConfig>

const SCHEMAS = {
  start: StartConfig,
  web: WebConfig,
  worker: WorkerConfig,
  relay: RelayConfig,
  migrate: MigrateConfig,
  types: TypesConfig,
} as const

export type Role = keyof typeof SCHEMAS
export type ConfigOf<R extends Role> = Static<(typeof SCHEMAS)[R]>

/**
 * Reads the configuration of a role.
 * @throws ConfigError that names every wrong value
 */
export function loadConfig<R extends Role>(role: R, env: Environment): ConfigOf<R> {
  const { values, problems: wrong } = readEnvironment(SCHEMAS[role], env)
  const problems = [...wrong, ...findWrongRelations(values as Partial<StartConfig>)]
  if (problems.length > 0) throw new ConfigError(problems)
  return values as ConfigOf<R>
}

/** Values that are fine each, but not together. A wrong one among them is reported by itself already. */
function findWrongRelations(config: Partial<StartConfig>): ConfigProblem[] {
  const { relayIntervalMs, claimWindowSeconds, workerConcurrency, brokerWindow, maxStreams, maxConnections } = config
  const problems: ConfigProblem[] = []
  if (isAbove(relayIntervalMs, claimWindowSeconds, 1000)) {
    problems.push({
      name: 'RELAY_INTERVAL_MS',
      value: String(relayIntervalMs),
      expected: `at most CLAIM_WINDOW_SECONDS (${claimWindowSeconds} s): the relay must look within the window`,
    })
  }
  if (isAbove(workerConcurrency, brokerWindow, 1)) {
    problems.push({
      name: 'WORKER_CONCURRENCY',
      value: String(workerConcurrency),
      expected: `at most BROKER_WINDOW (${brokerWindow}): a worker cannot run more than the broker holds`,
    })
  }
  if (isAbove(maxStreams, maxConnections, 1)) {
    problems.push({
      name: 'MAX_STREAMS',
      value: String(maxStreams),
      expected: `at most MAX_CONNECTIONS (${maxConnections}): each stream is a connection`,
    })
  }
  return problems
}

function isAbove(value: unknown, limit: unknown, factor: number): boolean {
  return typeof value === 'number' && typeof limit === 'number' && value > limit * factor
}

/** A row of the configuration table in docs/configuration.md. */
export interface ConfigRow {
  name: string
  roles: Role[]
  /** As shown to people; empty when there is none. */
  default: string
  meaning: string
}

/** Every variable there is, for the configuration table; a test holds docs/configuration.md to it. */
export function describeConfig(): ConfigRow[] {
  const roles = Object.keys(SCHEMAS) as Role[]
  return Object.keys(StartConfig.properties).map((key) => {
    const takers = roles.filter((role) => key in SCHEMAS[role].properties)
    const defaults = takers.map((role) => ({ role, value: annotationsOf(SCHEMAS[role], key).default }))
    const usual = defaults.find(({ role }) => role !== 'start') ?? defaults[0]
    const others = defaults
      .filter(({ value }) => value !== usual?.value)
      .map(({ role, value }) => ` (${role}: ${value})`)
    return {
      name: variableName(key),
      roles: takers,
      default: usual?.value === undefined ? '' : `${usual.value}${others.join('')}`,
      meaning: annotationsOf(StartConfig, key).description,
    }
  })
}

const SECRET_VARIABLES = new Set(
  Object.keys(StartConfig.properties).filter((key) => annotationsOf(StartConfig, key).isSecret).map(variableName),
)

/** Whether the variable is marked as a secret in its schema. */
export function isSecretVariable(name: string): boolean {
  return SECRET_VARIABLES.has(name)
}
