/** Variables of several roles. */
import { Type } from 'typebox'
import { isDatabaseUrl } from '../db/database-url.js'
import { splitList } from '../environment.js'
import { integer, isUnambiguousDatabase, logLevel, serverUrl } from './kinds.js'

export const databaseUrl = Type.Refine(
  Type.String({
    description: 'the PostgreSQL database, version 14 or newer; when unset, `start` runs its own',
    expected:
      'a URL such as postgres://user:password@host:5432/database, with @ / ? # % in user or password percent-encoded',
    isSecret: true,
  }),
  (value) => isDatabaseUrl(value) && isUnambiguousDatabase(value),
)
const redisUrl = Type.Refine(
  serverUrl(
    ['redis', 'rediss'],
    'redis://:password@host:6379/0 (rediss:// for TLS)',
    'the Redis that carries tasks to workers. When unset, PostgreSQL does, and `start` runs its own Redis if redis-server or valkey-server is installed',
  ),
  // The client would ask for database NaN and end the process.
  (value) => !URL.canParse(value) || /^\/?\d{0,4}$/.test(new URL(value).pathname),
)

/** Variables of every role that runs as a service. */
export const everyRole = { databaseUrl, redisUrl: Type.Optional(redisUrl), logLevel: logLevel('info') }

/** The queues in WORKER_QUEUES, each with its number of concurrent attempts. */
export function readWorkerQueues(text: string): Map<string, number> {
  return new Map(splitList(text).map((part) => [part.split(':')[0] ?? '', Number(part.split(':')[1])]))
}

const queues = Type.Refine(
  Type.String({
    default: '',
    description: 'additional queues that tasks may name, besides those of the types and of WORKER_QUEUES',
    expected: 'names separated by commas, such as reports,emails',
  }),
  (value) => splitList(value).every((name) => /^[a-z][a-z0-9-]{0,49}$/.test(name)),
)
const workerQueues = Type.Refine(
  Type.String({
    default: '',
    description:
      'the queues that a worker serves, each with its number of concurrent attempts; all queues when empty. Tasks may name these too',
    expected: 'names with numbers, such as reports:4,emails:16',
  }),
  (value) => splitList(value).every((part) => /^[a-z][a-z0-9-]{0,49}:[1-9][0-9]{0,2}$/.test(part)),
)
const tasksDir = Type.String({
  minLength: 1,
  description: 'a folder with your own task types, in JavaScript or TypeScript; same as --tasks',
  expected: 'the path of a folder',
})
const basePath = Type.String({
  pattern: '^((?!/(api|ws|docs|files|page)(/|$))/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$|^$',
  default: '',
  description:
    'the path under which a reverse proxy serves everything, such as /taskwire, whether or not the proxy strips it',
  expected:
    "a path such as /taskwire, without a trailing slash; not one of the server's own (/api, /ws, /docs, /files, /page)",
})
const httpRequestAllowPrivate = Type.Boolean({
  default: false,
  description: 'whether http.request tasks and callbacks may reach private and loopback addresses',
  expected: 'true or false',
})
const webhookSecret = Type.String({
  pattern: '^whsec_[A-Za-z0-9+/]{32,88}={0,2}$',
  description:
    'the secret that signs callbacks; when unset, a generated one stored in the database, see `taskwire webhook-secret`',
  expected: 'whsec_ and 24 to 64 bytes in base64',
  isSecret: true,
})
const smtpUrl = serverUrl(
  ['smtp', 'smtps'],
  'smtp://user:password@host:587',
  'the mail server for email.send; when unset, messages are written as files to EMAIL_DIR',
)
const emailFrom = Type.String({
  pattern: '^[^\\s@]+@[^\\s@]+$',
  default: 'taskwire@localhost.localdomain',
  description: 'the sender of e-mails that name none',
  expected: 'an address such as tasks@example.com',
})
const emailDir = Type.String({
  minLength: 1,
  default: '.taskwire/emails',
  description: 'where e-mails are written when SMTP_URL is unset',
  expected: 'the path of a folder',
})

/** Variables of the task definitions. A worker runs the definitions; the web process validates tasks with them. */
export const definitions = {
  basePath,
  tasksDir: Type.Optional(tasksDir),
  queues,
  workerQueues,
  httpRequestAllowPrivate,
  webhookSecret: Type.Optional(webhookSecret),
  smtpUrl: Type.Optional(smtpUrl),
  emailFrom,
  emailDir,
}

export const artifactsDir = Type.Refine(
  Type.String({
    minLength: 1,
    default: '.taskwire/artifacts',
    description:
      'where task files are stored: a folder shared by web and worker, or s3://bucket/prefix (?endpoint=https://… for stores other than Amazon)',
    expected: 'the path of a folder, or a URL such as s3://bucket/prefix',
  }),
  (value) => !value.startsWith('s3://') || (URL.canParse(value) && new URL(value).host !== ''),
)
const artifactTtlHours = integer(1, 24 * 3660, 24 * 30, 'how long task files are kept')
const minFreeDiskMb = integer(
  0,
  1_000_000_000,
  512,
  'free disk space, in MB, below which uploads and task files are refused (507, failure disk_full) while tasks are still accepted; 0 for no limit',
)

/** Where task files are stored. */
export const artifacts = { artifactsDir, artifactTtlHours, minFreeDiskMb }

export const claimWindowSeconds = integer(
  1,
  300,
  5,
  'how long a delivery may stay unclaimed before the relay redelivers it',
)
const brokerWindow = integer(
  100,
  1_000_000,
  10_000,
  'the most jobs kept in the broker; further ones wait in PostgreSQL',
)

/** Variables of dispatching deliveries to the broker. */
export const dispatch = { claimWindowSeconds, brokerWindow }
