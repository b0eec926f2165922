/**
 * Connections to Redis. A failure at start is reported; later failures are repaired automatically.
 *
 * - Until the first connection is ready, an error is final: `connectRedis` rejects with the reason given by the server
 *   or the network.
 * - From then on the client reconnects forever, at most a second apart. A connection whose answer is overdue for
 *   `socketTimeout` is dropped and opened again, even during its handshake: a frozen or unreachable server closes
 *   nothing by itself.
 * - Every client has an error listener, so that an outage never ends the process.
 */
import { Redis, type RedisOptions } from 'ioredis'
import { withDeadline } from '../timing/deadline.js'
import { growingPauseMs } from '../timing/pause.js'
import { explain } from './explain.js'
import type { BrokerLog, IncidentLog } from './incident-log.js'

/** BullMQ requires at least 6.2. */
const MINIMUM_VERSION = [6, 2] as const
const CONNECT_DEADLINE_MS = 3_000
const MAX_RECONNECT_PAUSE_MS = 1_000

type ConnectOptions = Omit<RedisOptions, 'replyMapping'>

const COMMON: ConnectOptions = {
  lazyConnect: true,
  connectTimeout: 3_000,
  // How long a dropped connection may take to close properly.
  disconnectTimeout: 500,
}

/**
 * For commands whose late success is worthless. Without a connection they are refused at once, and when the connection
 * is lost, pending commands are refused too instead of being kept and sent again.
 */
export const COMMAND_OPTIONS: ConnectOptions = {
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  socketTimeout: 4_000,
}

/**
 * For the subscribing connection. `redis-events.ts` renews the subscriptions itself, because it needs their
 * acknowledgement.
 */
export const SUBSCRIBER_OPTIONS: ConnectOptions = { ...COMMAND_OPTIONS, autoResubscribe: false }

/**
 * For a BullMQ worker, whose commands wait for the connection. Its blocking command lasts up to 5 s, so an answer is
 * overdue only after 10 s.
 */
export const WORKER_OPTIONS: ConnectOptions = { maxRetriesPerRequest: null, socketTimeout: 10_000 }

/**
 * Opens a connection and waits until it is ready.
 * @throws Error `cannot reach Redis at host:port: reason`, within three seconds
 */
export async function connectRedis(redisUrl: string, options: ConnectOptions, incidents: IncidentLog): Promise<Redis> {
  let isOpen = false
  let lastError: unknown
  const client = new Redis(redisUrl, {
    ...COMMON,
    ...options,
    retryStrategy: (times) =>
      isOpen ? growingPauseMs(times, { firstMs: 50, maxMs: MAX_RECONNECT_PAUSE_MS, jitter: 0 }) : null,
  })
  client.once('ready', () => (isOpen = true))
  client.on('error', (error) => {
    lastError = error
    if (isOpen) incidents.warn('the connection to Redis failed; reconnecting', error)
  })
  try {
    await withDeadline(client.connect(), CONNECT_DEADLINE_MS, `no answer within ${CONNECT_DEADLINE_MS / 1_000} s`)
    // When the database number does not exist, the client only emits an error and carries on with database 0.
    if (lastError !== undefined) throw lastError
    return client
  } catch (error) {
    isOpen = false
    client.disconnect()
    throw explain(`cannot reach Redis at ${addressOf(client)}`, lastError ?? error)
  }
}

/**
 * Refuses a Redis that is too old, and warns about one that may evict jobs when its memory is full.
 * @throws Error with a one-line message
 */
export async function checkRedis(client: Redis, log: BrokerLog): Promise<void> {
  const info = await withDeadline(client.info(), CONNECT_DEADLINE_MS, 'no answer').catch((error: unknown) => {
    throw explain(`cannot read the version of Redis at ${addressOf(client)}`, error)
  })
  const version = /^redis_version:(.+?)\r?$/m.exec(info)?.[1] ?? '0'
  if (isTooOld(version)) {
    const needed = MINIMUM_VERSION.join('.')
    throw new Error(`Redis ${version} at ${addressOf(client)} is too old: upgrade to ${needed} or newer`)
  }
  const policy = /^maxmemory_policy:(.+?)\r?$/m.exec(info)?.[1]
  if (policy !== undefined && policy !== 'noeviction') {
    log.warn({ policy }, 'Redis may evict jobs when its memory is full; set maxmemory-policy to noeviction')
  }
}

/** `host:port` or the socket's path; never the password. */
function addressOf(client: Redis): string {
  const { path, host = 'localhost', port = 6379 } = client.options
  return path ?? `${host}:${port}`
}

/** Whether BullMQ would refuse this version of Redis. Valkey reports 7.2 here. */
export function isTooOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major < MINIMUM_VERSION[0] || (major === MINIMUM_VERSION[0] && minor < MINIMUM_VERSION[1])
}
