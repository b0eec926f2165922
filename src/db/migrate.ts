/**
 * Brings the schema of a database up to date. Several processes may do so at once: an advisory lock admits one at a
 * time.
 *
 * The lock belongs to a transaction that stays open while another connection migrates, and ends with that transaction
 * for whatever reason. A session lock could stay on a pooler's connection forever. Waiting for the lock has a deadline,
 * and the error names the holder.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'
import { StartupError } from '../startup-error.js'
import { withDeadline } from '../timing/deadline.js'
import { describeDatabase, toPostgresOptions } from './database-url.js'
import { STATEMENT_SETTINGS } from './database.js'
import { assertOwnSession, isRefusedByPooler, PooledConnectionError } from './pooler.js'
import { prepareOnline } from './prepare-online.js'
import { assertWritable } from './writability.js'

/** The path is the same seen from `src/db` and from `dist/db`. */
const MIGRATIONS_FOLDER = fileURLToPath(new URL('../../drizzle', import.meta.url))
/** PostgreSQL 14 introduced `create or replace trigger`. */
const MINIMUM_VERSION = 14
/** An arbitrary number that nothing else locks: "task" in ASCII. */
const LOCK_KEY = 0x7461736b
const LOCK_PAUSE_MS = 100
/**
 * Longer than the client's connect time-out. A server that responds, but not in the PostgreSQL protocol, would keep the
 * client waiting forever.
 */
const ANSWER_DEADLINE_MS = 7_000
/** Longer than any existing migration takes. A release with a slower one says so. */
const LOCK_WAIT_MS = 60_000

/**
 * Applies the migrations that the database lacks.
 * @throws StartupError with a one-line message when the server cannot be reached, refuses, is too old, or when a newer
 * version of Taskwire has already migrated the database
 */
export async function migrateDatabase(databaseUrl: string, options: { lockWaitMs?: number } = {}): Promise<void> {
  await useServer(databaseUrl, async (client, connect) => {
    const locking = connect()
    try {
      await withLock(locking, client, options.lockWaitMs ?? LOCK_WAIT_MS, async () => {
        const missing = await countMissing(client)
        assertNotNewer(missing)
        if (missing > 0)
          await prepareOnline(client, readMigrationFiles({ migrationsFolder: MIGRATIONS_FOLDER }).slice(-missing))
        await migrate(drizzle(client), {
          migrationsFolder: MIGRATIONS_FOLDER,
          migrationsSchema: 'taskwire',
          migrationsTable: 'migrations',
        })
      })
    } finally {
      await locking.end({ timeout: 1 })
    }
  })
}

/**
 * Runs `work` while no other process migrates.
 *
 * The lock ends with a transaction, so it never stays behind on a pooled connection. Building an index concurrently
 * waits for all transactions that hold a snapshot. Therefore a process that waits for the lock asks in one short
 * transaction after another, and all statements here are sent without parameters: a statement with parameters keeps its
 * snapshot until its transaction ends.
 * @throws StartupError that names the holder when the lock is not free in time
 */
async function withLock(
  locking: postgres.Sql,
  client: postgres.Sql,
  waitMs: number,
  work: () => Promise<void>,
): Promise<void> {
  for (const startedAtMs = performance.now(); ; await sleep(LOCK_PAUSE_MS)) {
    const isDone = await locking.begin(async (transaction) => {
      await transaction.unsafe('set local idle_in_transaction_session_timeout = 0')
      const [row] = await transaction.unsafe<{ isTaken: boolean }[]>(
        `select pg_try_advisory_xact_lock(${LOCK_KEY}) as "isTaken"`,
      )
      if (row?.isTaken) await work()
      return row?.isTaken === true
    })
    if (isDone) return
    if (performance.now() - startedAtMs < waitMs) continue
    throw new StartupError(
      `another process has been migrating this database for ${waitMs / 1000} s: ${await describeHolder(client)}`,
    )
  }
}

async function describeHolder(client: postgres.Sql): Promise<string> {
  const [holder] = await client<{ pid: number; name: string | null; address: string | null; since: string | null }[]>`
    select pid, nullif(application_name, '') as name, host(client_addr) as address, to_char(coalesce(xact_start, state_change), 'YYYY-MM-DD HH24:MI:SS TZ') as since
    from pg_locks left join pg_stat_activity using (pid)
    where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())
      and classid = 0 and objid = ${LOCK_KEY}::bigint::oid and objsubid = 1`
  if (holder === undefined) return 'it has just finished. Try again.'
  const { pid, name, address, since } = holder
  const who = `PostgreSQL's process ${pid} (${name ?? 'unnamed'}${address === null ? '' : `, from ${address}`}${since === null ? '' : `, since ${since}`})`
  return `${who}. Wait for it. If it is stuck, end it: select pg_terminate_backend(${pid}).`
}

/**
 * Number of migrations that the database lacks. Negative when it has some that this version does not know.
 * @throws StartupError with a one-line message when the server cannot be reached, refuses, or is too old
 */
export async function countMissingMigrations(databaseUrl: string): Promise<number> {
  return useServer(databaseUrl, (client) => countMissing(client))
}

/** Runs `work` over a separate connection. Every failure becomes one line that says what to do. */
async function useServer<T>(
  databaseUrl: string,
  work: (client: postgres.Sql, connect: () => postgres.Sql) => Promise<T>,
): Promise<T> {
  const server = describeDatabase(databaseUrl)
  const needs = { applicationName: 'taskwire migrate', connectTimeoutSeconds: 5, options: STATEMENT_SETTINGS }
  const connect = () => postgres({ ...toPostgresOptions(databaseUrl, needs), max: 1, onnotice: () => {} })
  const client = connect()
  try {
    const version = await readServerVersion(client).catch((error: unknown) => {
      throw isRefusedByPooler(error)
        ? new PooledConnectionError(server)
        : new StartupError(
            `cannot use PostgreSQL at ${server}: ${reasonOf(error)}. Check DATABASE_URL and that the server runs.`,
          )
    })
    assertVersion(version)
    await assertOwnSession(client, connect, server)
    await assertWritable(client, server)
    return await work(client, connect)
  } catch (error) {
    if (error instanceof StartupError) throw error
    throw new StartupError(
      `cannot prepare the database at ${server}: ${reasonOf(error)}. ` +
        `Point DATABASE_URL at a database where its user may create schemas and no other user owns a schema "taskwire".`,
    )
  } finally {
    await client.end({ timeout: 1 })
  }
}

/** The reason given by the server or the network. drizzle hides it behind the text of the statement. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.cause instanceof Error) return reasonOf(error.cause)
  return error.message || String((error as NodeJS.ErrnoException).code)
}

async function countMissing(client: postgres.Sql): Promise<number> {
  const known = readMigrationFiles({ migrationsFolder: MIGRATIONS_FOLDER }).length
  const [table] = await client<{ exists: boolean }[]>`select to_regclass('taskwire.migrations') is not null as exists`
  if (!table?.exists) return known
  const [row] = await client<{ count: number }[]>`select count(*)::integer as count from taskwire.migrations`
  return known - (row?.count ?? 0)
}

function assertNotNewer(missing: number): void {
  if (missing >= 0) return
  throw new StartupError(
    `the database was migrated by a newer Taskwire: it has ${-missing} migrations that this version does not know. Update Taskwire, or point DATABASE_URL at another database.`,
  )
}

/** @param version `server_version_num`: the major version times 10,000, plus the minor */
export function assertVersion(version: number): void {
  const major = Math.floor(version / 10_000)
  if (major >= MINIMUM_VERSION) return
  throw new StartupError(
    `PostgreSQL ${major} is too old: upgrade to ${MINIMUM_VERSION} or newer, or point DATABASE_URL at such a server.`,
  )
}

async function readServerVersion(client: postgres.Sql): Promise<number> {
  const asked = client<{ server_version_num: string }[]>`show server_version_num`
  const [row] = await withDeadline(asked, ANSWER_DEADLINE_MS, 'no answer in the PostgreSQL protocol')
  return Number(row?.server_version_num)
}
