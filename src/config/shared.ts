/** Variables of several roles. */
import { Type } from 'typebox'
import { isDatabaseUrl } from '../db/database-url.js'
import { splitList } from '../environment.js'
import { integer, isUnambiguousDatabase, logLevel, serverUrl } from './kinds.js'

export const databaseUrl = Type.Refine(
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

/** What every role that serves takes. */
export const everyRole = { databaseUrl, redisUrl: Type.Optional(redisUrl), logLevel: logLevel('info') }

/** The names in WORKER_QUEUES, each with its number. */
export function readWorkerQueues(text: string): Map<string, number> {
  return new Map(splitList(text).map((part) => [part.split(':')[0] ?? '', Number(part.split(':')[1])]))
}

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
const tasksDir = Type.String({
  minLength: 1,
  description: 'a folder with types of tasks of your own, JavaScript or TypeScript; the same as --tasks',
  expected: 'the path of a folder',
})
const basePath = Type.String({
  pattern: '^((?!/(api|ws|docs|files|page)(/|$))/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$|^$',
  default: '',
  description: 'the path that a reverse proxy serves everything under, such as /taskwire, whether it strips it or not',
  expected: 'a path such as /taskwire, without a slash at its end; not one of the server\'s own (/api, /ws, /docs, /files, /page)',
})
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
const smtpUrl = serverUrl(['smtp', 'smtps'], 'smtp://user:password@host:587', 'the mail server of email.send; without one messages become files in EMAIL_DIR')
const emailFrom = Type.String({
  pattern: '^[^\\s@]+@[^\\s@]+$',
  default: 'taskwire@localhost.localdomain',
  description: 'who sends e-mails that name no sender',
  expected: 'an address such as tasks@example.com',
})
const emailDir = Type.String({ minLength: 1, default: '.taskwire/emails', description: 'where e-mails go without SMTP_URL', expected: 'the path of a folder' })

/** What the definitions of tasks take: those of a worker, and of the web process, which checks what it accepts by them. */
export const definitions = {
  ...{ basePath, tasksDir: Type.Optional(tasksDir), queues, workerQueues },
  ...{ httpRequestAllowPrivate, webhookSecret: Type.Optional(webhookSecret), smtpUrl: Type.Optional(smtpUrl), emailFrom, emailDir },
}

export const artifactsDir = Type.Refine(
  Type.String({
    minLength: 1,
    default: '.taskwire/artifacts',
    description: 'where the files of tasks lie: a folder that web and worker share, or s3://bucket/prefix (?endpoint=https://… for stores other than Amazon)',
    expected: 'the path of a folder, or a URL such as s3://bucket/prefix',
  }),
  (value) => !value.startsWith('s3://') || (URL.canParse(value) && new URL(value).host !== ''),
)
const artifactTtlHours = integer(1, 24 * 3660, 24 * 30, 'how long the files of tasks are kept')
const minFreeDiskMb = integer(
  0,
  1_000_000_000,
  512,
  'the free space, in MB, below which the disk takes no more uploads and files of tasks (507, failure disk_full), while tasks are accepted; 0 for no limit',
)

/** Where the files of tasks lie. */
export const artifacts = { artifactsDir, artifactTtlHours, minFreeDiskMb }

const claimWindowSeconds = integer(
  1,
  300,
  5,
  'how long a delivery may stay unclaimed before the relay hands it over again',
)
const brokerWindow = integer(100, 1_000_000, 10_000, 'jobs kept in the broker at most; more wait in PostgreSQL')

/** What is handed to the broker. */
export const handOver = { claimWindowSeconds, brokerWindow }
