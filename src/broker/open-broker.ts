import { StartupError } from '../startup-error.js'
import type { Broker } from './broker.js'
import { reasonOf } from './explain.js'
import type { BrokerLog } from './incident-log.js'
import { migrateBrokerSchema, openPostgresBroker } from './postgres-broker.js'
import { openRedisBroker } from './redis-broker.js'
import { withStandby } from './standby-broker.js'

export interface OpenBrokerOptions {
  /**
   * Redis, if there is one. Without it, or while it is away, PostgreSQL carries everything; run `migrateBroker` first.
   */
  redisUrl?: string | undefined
  databaseUrl: string
  log: BrokerLog
}

/**
 * Prepares a database to carry tasks without Redis. Safe to call from several processes at once.
 * @throws StartupError with a one-line message
 */
export async function migrateBroker(databaseUrl: string): Promise<void> {
  await migrateBrokerSchema(databaseUrl).catch((error: unknown) => {
    throw new StartupError(reasonOf(error))
  })
}

/**
 * Opens the broker. After that, outages are repaired automatically and only logged.
 * @throws StartupError with a one-line message, within a few seconds, when the server cannot be reached or used
 */
export async function openBroker({ redisUrl, databaseUrl, log }: OpenBrokerOptions): Promise<Broker> {
  try {
    if (redisUrl === undefined) return await openPostgresBroker({ databaseUrl, log })
    const primary = await openRedisBroker({ redisUrl, log })
    return withStandby({ primary, openStandby: () => openPostgresBroker({ databaseUrl, log }), log })
  } catch (error) {
    // The reason is complete; a cause would carry the client's commands.
    throw new StartupError(reasonOf(error))
  }
}
