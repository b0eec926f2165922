/** Variables of the web process. */
import { isIP, isIPv4 } from 'node:net'
import { domainToASCII } from 'node:url'
import { Type } from 'typebox'
import { splitList } from '../environment.js'
import { HEARTBEAT_MS, MAX_SILENCE_MS } from '../protocol/limits.js'
import { integer } from './kinds.js'
import { artifacts, definitions, handOver } from './shared.js'

/** An address, a network, or a name that Fastify knows for some. A network of everything would be no list. */
function isProxyAddress(text: string): boolean {
  const [address = '', bits, ...others] = text.split('/')
  if (bits === undefined) return ['loopback', 'linklocal', 'uniquelocal'].includes(text) || isIP(address) !== 0
  return others.length === 0 && isIP(address) !== 0 && /^[1-9]\d{0,2}$/.test(bits) && Number(bits) <= (isIPv4(address) ? 32 : 128)
}

const host = Type.String({
  pattern: '^[A-Za-z0-9._:%-]+$',
  default: '127.0.0.1',
  description: 'the address to listen on; 0.0.0.0 for every network of the machine',
  expected: 'a host name or IP address, such as 127.0.0.1',
})
const port = integer(0, 65535, 3000, 'the port to listen on; 0 for any free one')
const databasePoolSize = integer(1, 100, 10, 'database connections of the web process for what changes tasks, and for reading one')
const databaseReadPoolSize = integer(2, 100, 6, 'database connections of the web process for streams and lists, which take no others')
const idempotencyKeyTtlHours = integer(1, 24 * 366, 24, 'how long an Idempotency-Key stands for the task that it made')
const maxUploadsMb = integer(300, 1_000_000_000, 10_240, 'what uploads may take together, in MB, each for the day that it is kept; over it the answer is 507')
const watchedDirs = Type.String({
  default: '',
  description: 'further folders, with commas between, of whose disks /readyz says when MIN_FREE_DISK_MB is reached; `start` adds the data of its own PostgreSQL',
  expected: 'paths of folders, with commas between',
})

const maxStreamsPerAddress = integer(1, 1_000_000, 1_000, 'streams that one address may hold open')
const maxStreamsPerKey = integer(1, 1_000_000, 1_000, 'streams that one key (Authorization: Bearer …) may hold open, from any address')
const maxStreams = integer(1, 1_000_000, 20_000, 'streams that one web process holds open')
const streamHeartbeatSeconds = integer(
  ...[1, 20, HEARTBEAT_MS / 1_000] as const,
  `how long a stream is silent at most: then it says a heartbeat. Clients take ${MAX_SILENCE_MS / 1_000} s of silence for a dead connection`,
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
const allowedHosts = Type.Refine(
  Type.String({
    default: '',
    description: 'names that the server answers to, besides localhost, HOST and IP addresses, with commas between; * for any',
    expected: '* or host names such as tasks.example.com, with commas between, without scheme and port',
  }),
  (value) => splitList(value).every((name) => name === '*' || (/^[^:/?#@*\s]+$/.test(name) && domainToASCII(name) !== '')),
)
const allowedOrigins = Type.Refine(
  Type.String({
    default: '',
    description: 'web pages of other origins that may use the server, with commas between; * for all',
    expected: '* or origins such as https://app.example.com, with commas between',
  }),
  (value) => value === '*' || splitList(value).every((origin) => URL.canParse(origin) && new URL(origin).origin === origin),
)
const streams = { maxStreamsPerAddress, maxStreamsPerKey, maxStreams, streamHeartbeatSeconds, trustProxy, allowedHosts, allowedOrigins }

const maxConnections = integer(10, 1_000_000, 25_000, 'connections that one web process holds open, streams among them; over it the one that is idle for longest is closed')
const requestTimeoutSeconds = integer(1, 600, 15, 'how long a client may take to send the head of a request, and its JSON body; uploads must only keep a rate')
const keepAliveSeconds = integer(1, 3_600, 30, 'how long an idle connection is kept; longer than a proxy in front keeps its idle ones')
const maxBodyMemoryBytes = integer(8_388_608, 68_719_476_736, 67_108_864, 'memory of one web process for JSON bodies that are being received')
const maxUnreadMemoryBytes = integer(8_388_608, 68_719_476_736, 67_108_864, 'memory of one web process for answers that clients have not read')
const connections = { maxConnections, requestTimeoutSeconds, keepAliveSeconds, maxBodyMemoryBytes, maxUnreadMemoryBytes }

export const web = {
  ...{ host, port, databasePoolSize, databaseReadPoolSize, idempotencyKeyTtlHours, ...handOver },
  ...{ ...definitions, ...artifacts, maxUploadsMb, watchedDirs, ...streams, ...connections },
}
