/**
 * The broker on Redis: BullMQ and pub/sub. Commands share one connection; the subscription and each worker have their
 * own.
 */
import { createRedisBackend } from 'bullmq'
import { settlesWithin, withDeadline } from '../timing/deadline.js'
import type { Broker } from './broker.js'
import { openDeliveryQueue } from './delivery-queue.js'
import { createIncidentLog, type BrokerLog } from './incident-log.js'
import { checkRedis, COMMAND_OPTIONS, connectRedis, WORKER_OPTIONS } from './redis-connection.js'
import { createRedisEvents } from './redis-events.js'
import { findRedisFaults, repairRedis, readRedisEpoch, readRedisFacts } from './redis-inspect.js'

/** The braces are a hash tag: all keys of the queue lie in one slot of a cluster. */
const KEY_PREFIX = '{taskwire}'
const EPOCH_KEY = `${KEY_PREFIX}:epoch`
const PING_DEADLINE_MS = 1_000
const CLOSE_GRACE_MS = 500

/** @throws Error with a one-line message when Redis cannot be reached, refuses, or is too old */
export async function openRedisBroker({ redisUrl, log }: { redisUrl: string; log: BrokerLog }): Promise<Broker> {
  const incidents = createIncidentLog(log)
  const commands = await connectRedis(redisUrl, COMMAND_OPTIONS, incidents)
  const open = async () => {
    await checkRedis(commands, log)
    return openDeliveryQueue(
      {
        factory: createRedisBackend,
        prefix: KEY_PREFIX,
        connection: commands,
        async openWorkerConnection() {
          const connection = await connectRedis(redisUrl, WORKER_OPTIONS, incidents)
          return { connection, isUp: () => connection.status === 'ready', close: () => connection.disconnect() }
        },
      },
      incidents,
    )
  }
  const queue = await open().catch((error: unknown) => {
    commands.disconnect()
    throw error
  })
  const events = createRedisEvents(redisUrl, commands, incidents)
  let closing: Promise<void> | undefined

  async function closeOnce(): Promise<void> {
    await Promise.all([queue.close(), events.close()])
    // QUIT waits for the answers of pending commands.
    await settlesWithin(commands.quit(), CLOSE_GRACE_MS)
    commands.disconnect()
  }

  return {
    kind: 'redis',
    queue,
    events,
    readEpoch: () => readRedisEpoch(commands, EPOCH_KEY),
    async inspect() {
      const [facts, waitingJobs] = await Promise.all([readRedisFacts(commands), queue.countWaiting('default')])
      return { server: `Redis ${facts.version}`, clockMs: facts.clockMs, waitingJobs, faults: findRedisFaults(facts) }
    },
    repair: () => repairRedis(commands),
    async ping({ deadlineMs = PING_DEADLINE_MS } = {}) {
      await withDeadline(commands.ping(), deadlineMs, 'Redis does not answer')
    },
    close: () => (closing ??= closeOnce()),
  }
}
