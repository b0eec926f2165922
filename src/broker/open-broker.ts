import { StartupError } from '../startup-error.js'
import type { Broker } from './broker.js'
import { reasonOf } from './explain.js'
import type { BrokerLog } from './incident-log.js'
import { migrateBrokerSchema, openPostgresBroker } from './postgres-broker.js'
import { openRedisBroker } from './redis-broker.js'
import { withStandby } from './standby-broker.js'

export interface OpenBrokerOptions {
  /** Redis, when there is one. Without it, and while it is away, PostgreSQL carries everything; `migrateBroker` must have prepared it. */
  redisUrl?: string | undefined
  databaseUrl: string
  log: BrokerLog
}

/**
 * Prepares a database to carry tasks without Redis. Several processes may do so at once.
 * @throws StartupError with one clear line
 */
export async function migrateBroker(databaseUrl: string): Promise<void> {
  await migrateBrokerSchema(databaseUrl).catch((error: unknown) => {
    throw new StartupError(reasonOf(error))
  })
}

/**
 * Opens the broker. From then on outages are repaired in silence but for a line in the log.
 * @throws StartupError with one clear line, within a few seconds, when the server cannot be reached or used
 */
export async function openBroker({ redisUrl, databaseUrl, log }: OpenBrokerOptions): Promise<Broker> {
  try {
    if (redisUrl === undefined) return await openPostgresBroker({ databaseUrl, log })
    const primary = await openRedisBroker({ redisUrl, log })
    return withStandby({ primary, openStandby: () => openPostgresBroker({ databaseUrl, log }), log })
  } catch (error) {
    // The reason says everything; a cause would carry the commands of the client.
    throw new StartupError(reasonOf(error))
  }
}
