/** Connections to PostgreSQL for this room. They use `pg`: BullMQ needs it, and it can probe a listening connection. */
import { Client, Pool, type ClientConfig } from 'pg'
import { describeDatabase, toPgConfig } from '../db/database-url.js'
import { explain } from './explain.js'
import type { IncidentLog } from './incident-log.js'

/** A later answer comes from a frozen or unreachable server, so the connection is given up. */
const ANSWER_DEADLINE_MS = 10_000
const CONNECT_DEADLINE_SECONDS = 3

/** Settings common to all connections. */
export function connectionConfig(databaseUrl: string, applicationName = 'taskwire-broker') {
  return {
    ...toPgConfig(databaseUrl, { applicationName, connectTimeoutSeconds: CONNECT_DEADLINE_SECONDS }),
    query_timeout: ANSWER_DEADLINE_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  }
}

/** One permanent connection for statements. They run one after the other, so published events stay in order. */
export function openStatementPool(databaseUrl: string, answerDeadlineMs: number, incidents: IncidentLog): Pool {
  const config = connectionConfig(databaseUrl)
  const pool = new Pool({ ...config, query_timeout: answerDeadlineMs, max: 1, idleTimeoutMillis: 0 })
  pool.on('error', (error) => incidents.warn('the connection to PostgreSQL failed; reconnecting', error))
  return pool
}

/** Connects a separate client. @throws Error `cannot reach PostgreSQL at host:port/database: reason` */
export async function connectPostgres(
  databaseUrl: string,
  overrides: ClientConfig = {},
  applicationName?: string,
): Promise<Client> {
  const client = new Client({ ...connectionConfig(databaseUrl, applicationName), ...overrides })
  // Without a listener, the error of a lost connection would end the process. The `end` event that follows reports it.
  client.on('error', () => {})
  try {
    await client.connect()
    return client
  } catch (error) {
    throw explain(`cannot reach PostgreSQL at ${describeServer(databaseUrl)}`, error)
  }
}

export const describeServer = describeDatabase
