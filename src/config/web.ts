/** Variables of the web process. */
import { isIP, isIPv4 } from 'node:net'
import { domainToASCII } from 'node:url'
import { Type } from 'typebox'
import { splitList } from '../environment.js'
import { HEARTBEAT_MS, MAX_SILENCE_MS } from '../protocol/limits.js'
import { integer } from './kinds.js'
import { artifacts, definitions, dispatch } from './shared.js'

/**
 * An address, a network, or one of Fastify's names for several networks. A network that contains every address is
 * refused.
 */
function isProxyAddress(text: string): boolean {
  const [address = '', bits, ...others] = text.split('/')
  if (bits === undefined) return ['loopback', 'linklocal', 'uniquelocal'].includes(text) || isIP(address) !== 0
  return (
    others.length === 0 &&
    isIP(address) !== 0 &&
    /^[1-9]\d{0,2}$/.test(bits) &&
    Number(bits) <= (isIPv4(address) ? 32 : 128)
  )
}

const host = Type.String({
  pattern: '^[A-Za-z0-9._:%-]+$',
  default: '127.0.0.1',
  description: 'the address to listen on; 0.0.0.0 for all network interfaces',
  expected: 'a host name or IP address, such as 127.0.0.1',
})
const port = integer(0, 65535, 3000, 'the port to listen on; 0 for any free one')
const databasePoolSize = integer(
  1,
  100,
  10,
  'database connections of the web process for changing tasks and reading single ones',
)
const databaseReadPoolSize = integer(
  2,
  100,
  6,
  'database connections of the web process for streams and lists, which use only these',
)
const idempotencyKeyTtlHours = integer(
  1,
  24 * 366,
  24,
  'how long an Idempotency-Key is kept: the same request then gets the task it created',
)
const maxUploadsMb = integer(
  300,
  1_000_000_000,
  10_240,
  'total size of all uploads, in MB; each counts for the day that it is kept. Above it, uploads get 507',
)
const watchedDirs = Type.String({
  default: '',
  description:
    'further folders, separated by commas, whose disks /readyz checks against MIN_FREE_DISK_MB; `start` adds the data folder of its own PostgreSQL',
  expected: 'paths of folders, separated by commas',
})

const maxStreamsPerAddress = integer(1, 1_000_000, 1_000, 'the most open streams per client address')
const maxStreamsPerKey = integer(
  1,
  1_000_000,
  1_000,
  'the most open streams per key (Authorization: Bearer …), from any address',
)
const maxStreams = integer(1, 1_000_000, 20_000, 'the most open streams per web process')
const streamHeartbeatSeconds = integer(
  ...([1, 20, HEARTBEAT_MS / 1_000] as const),
  `the longest silence of a stream before it sends a heartbeat. Clients treat ${MAX_SILENCE_MS / 1_000} s of silence as a dead connection`,
)
const trustProxy = Type.Refine(
  Type.String({
    default: '',
    description:
      'addresses of the reverse proxies in front, separated by commas; their X-Forwarded-For, -Proto and -Host are trusted',
    expected:
      'addresses or networks such as 10.0.0.5,172.16.0.0/12, or loopback, linklocal, uniquelocal; leave empty without a proxy. ' +
      'A number of hops or true would let every client choose its own address',
  }),
  (value) => splitList(value).every(isProxyAddress),
)
const allowedHosts = Type.Refine(
  Type.String({
    default: '',
    description:
      'host names that the server answers to, separated by commas, besides localhost, HOST and IP addresses; * for any',
    expected: '* or host names such as tasks.example.com, separated by commas, without scheme and port',
  }),
  (value) =>
    splitList(value).every((name) => name === '*' || (/^[^:/?#@*\s]+$/.test(name) && domainToASCII(name) !== '')),
)
const allowedOrigins = Type.Refine(
  Type.String({
    default: '',
    description: 'other origins whose web pages may use the server, separated by commas; * for all',
    expected: '* or origins such as https://app.example.com, separated by commas',
  }),
  (value) =>
    value === '*' || splitList(value).every((origin) => URL.canParse(origin) && new URL(origin).origin === origin),
)
const streams = {
  maxStreamsPerAddress,
  maxStreamsPerKey,
  maxStreams,
  streamHeartbeatSeconds,
  trustProxy,
  allowedHosts,
  allowedOrigins,
}

const maxConnections = integer(
  10,
  1_000_000,
  25_000,
  'the most open connections per web process, streams included; above it, the connection whose request has been incomplete the longest is closed',
)
const requestTimeoutSeconds = integer(
  1,
  600,
  15,
  'how long a client may take to send the head of a request and its JSON body; uploads only need to keep a minimum rate',
)
const keepAliveSeconds = integer(
  1,
  3_600,
  30,
  'how long an idle connection is kept open; set it longer than a proxy in front keeps its own',
)
const maxBodyMemoryBytes = integer(
  8_388_608,
  68_719_476_736,
  67_108_864,
  'memory per web process for JSON bodies being received',
)
const maxUnreadMemoryBytes = integer(
  8_388_608,
  68_719_476_736,
  67_108_864,
  'memory per web process for responses that clients have not read yet',
)
const connections = {
  maxConnections,
  requestTimeoutSeconds,
  keepAliveSeconds,
  maxBodyMemoryBytes,
  maxUnreadMemoryBytes,
}

export const web = {
  host,
  port,
  databasePoolSize,
  databaseReadPoolSize,
  idempotencyKeyTtlHours,
  ...dispatch,
  ...definitions,
  ...artifacts,
  maxUploadsMb,
  watchedDirs,
  ...streams,
  ...connections,
}
