/**
 * The broker on PostgreSQL, for installations without Redis: BullMQ's PostgreSQL backend in its own schema, and
 * LISTEN/NOTIFY. Same guarantees as the Redis broker, fewer jobs per second.
 */
import { createPostgresBackend, runMigrations, SchemaMigrationRequiredError, type PostgresPoolConfig } from 'bullmq'
import { settlesWithin, withDeadline } from '../timing/deadline.js'
import type { Broker } from './broker.js'
import { openDeliveryQueue } from './delivery-queue.js'
import { explain } from './explain.js'
import { createIncidentLog, type BrokerLog } from './incident-log.js'
import { connectionConfig, connectPostgres, describeServer, openStatementPool } from './postgres-connection.js'
import { createPostgresEvents } from './postgres-events.js'

const SCHEMA = 'taskwire_bullmq'
const PING_DEADLINE_MS = 1_000
const STATEMENT_DEADLINE_MS = 2_000
const CLOSE_GRACE_MS = 500
const MIGRATION_DEADLINE_MS = 60_000

/** Connections for adding jobs. */
const QUEUE_CONNECTIONS = 2
/** Connections of one worker for taking and finishing jobs. More bring no gain. */
const MAX_WORKER_CONNECTIONS = 4

/**
 * Brings BullMQ's schema in this database up to date. Safe to call from several processes at once: BullMQ serializes
 * them.
 * @throws Error with a one-line message when PostgreSQL cannot be reached or refuses
 */
export async function migrateBrokerSchema(databaseUrl: string): Promise<void> {
  const client = await connectPostgres(databaseUrl, { query_timeout: MIGRATION_DEADLINE_MS })
  try {
    await runMigrations(client, SCHEMA)
  } catch (error) {
    throw explain(`cannot prepare the schema ${SCHEMA} in PostgreSQL at ${describeServer(databaseUrl)}`, error)
  } finally {
    await settlesWithin(client.end(), CLOSE_GRACE_MS)
  }
}

/**
 * @throws Error with a one-line message when PostgreSQL cannot be reached, or `migrateBrokerSchema` has not been run
 */
export async function openPostgresBroker(options: { databaseUrl: string; log: BrokerLog }): Promise<Broker> {
  const { databaseUrl, log } = options
  const incidents = createIncidentLog(log)
  await settlesWithin((await connectPostgres(databaseUrl)).end(), CLOSE_GRACE_MS)
  const poolConfig = (max: number): PostgresPoolConfig => {
    return { ...connectionConfig(databaseUrl), schema: SCHEMA, max, idleTimeoutMillis: 0 }
  }
  const queue = await openDeliveryQueue(
    {
      factory: createPostgresBackend,
      prefix: '',
      connection: poolConfig(QUEUE_CONNECTIONS),
      async openWorkerConnection(concurrency) {
        const connection = poolConfig(Math.min(concurrency, MAX_WORKER_CONNECTIONS))
        return { connection, isUp: () => true, close: () => {} }
      },
    },
    incidents,
  ).catch((error: unknown) => {
    const reason =
      error instanceof SchemaMigrationRequiredError
        ? `its schema is missing or out of date; run "taskwire migrate"`
        : error
    throw explain(`cannot use the job queue in PostgreSQL at ${describeServer(databaseUrl)}`, reason)
  })
  const statements = openStatementPool(databaseUrl, STATEMENT_DEADLINE_MS, incidents)
  const events = createPostgresEvents(databaseUrl, statements, incidents)
  let closing: Promise<void> | undefined

  async function closeOnce(): Promise<void> {
    await Promise.all([queue.close(), events.close()])
    await settlesWithin(statements.end(), CLOSE_GRACE_MS)
  }

  return {
    kind: 'postgres',
    queue,
    events,
    // Constant: this queue is lost only together with the tasks themselves.
    readEpoch: async () => 'postgres',
    async inspect() {
      const text = `select extract(epoch from clock_timestamp()) * 1000 as "clockMs", current_setting('server_version') as version`
      const answer = withDeadline(
        statements.query<{ clockMs: string; version: string }>(text),
        STATEMENT_DEADLINE_MS,
        'PostgreSQL does not answer',
      )
      const [{ rows }, waitingJobs] = await Promise.all([answer, queue.countWaiting('default')])
      return { server: `PostgreSQL ${rows[0]?.version}`, clockMs: Number(rows[0]?.clockMs), waitingJobs, faults: [] }
    },
    repair: async () => [],
    async ping({ deadlineMs = PING_DEADLINE_MS } = {}) {
      await withDeadline(statements.query('select 1'), deadlineMs, 'PostgreSQL does not answer')
    },
    close: () => (closing ??= closeOnce()),
  }
}
