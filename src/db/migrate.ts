/** Brings the schema of a database up to date. Several processes may do so at once: an advisory lock lets one at a time. */
import { fileURLToPath } from 'node:url'
import { drizzle } from 'drizzle-orm/postgres-js'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { migrate } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'
import { StartupError } from '../startup-error.js'

/** Where the migrations lie, seen from `src/db` and from `dist/db` alike. */
const MIGRATIONS_FOLDER = fileURLToPath(new URL('../../drizzle', import.meta.url))
/** `create or replace trigger` came with PostgreSQL 14. */
const MINIMUM_VERSION = 14
/** Any number that nobody else locks: "task" in ASCII. */
const LOCK_KEY = 0x7461736b

/**
 * Applies the migrations that the database lacks.
 * @throws StartupError with one clear line when the server cannot be reached, refuses, or is too old
 */
export async function migrateDatabase(databaseUrl: string): Promise<void> {
  const client = postgres(databaseUrl, { max: 1, connect_timeout: 5, onnotice: () => {} })
  try {
    await assertServer(client, databaseUrl)
    // The session's lock ends with the connection, whatever happens in between.
    await client`select pg_advisory_lock(${LOCK_KEY})`
    await migrate(drizzle(client), { migrationsFolder: MIGRATIONS_FOLDER, migrationsSchema: 'taskwire', migrationsTable: 'migrations' })
  } finally {
    await client.end({ timeout: 5 })
  }
}

/**
 * How many migrations the database lacks.
 * @throws StartupError like `migrateDatabase`
 */
export async function countMissingMigrations(databaseUrl: string): Promise<number> {
  const client = postgres(databaseUrl, { max: 1, connect_timeout: 5, onnotice: () => {} })
  try {
    await assertServer(client, databaseUrl)
    const known = readMigrationFiles({ migrationsFolder: MIGRATIONS_FOLDER }).length
    const [table] = await client<{ exists: boolean }[]>`select to_regclass('taskwire.migrations') is not null as exists`
    if (!table?.exists) return known
    const [row] = await client<{ count: number }[]>`select count(*)::integer as count from taskwire.migrations`
    return known - (row?.count ?? 0)
  } finally {
    await client.end({ timeout: 5 })
  }
}

async function assertServer(client: postgres.Sql, databaseUrl: string): Promise<void> {
  const version = await readServerVersion(client).catch((error: unknown) => {
    const { host, pathname } = new URL(databaseUrl)
    const reason = error instanceof Error ? error.message || String((error as NodeJS.ErrnoException).code) : String(error)
    throw new StartupError(`cannot use PostgreSQL at ${host}${pathname}: ${reason}. Check DATABASE_URL and that the server runs.`)
  })
  assertVersion(version)
}

/** @param version as `server_version_num` gives it: the major version times 10,000, and the minor */
export function assertVersion(version: number): void {
  const major = Math.floor(version / 10_000)
  if (major >= MINIMUM_VERSION) return
  throw new StartupError(`PostgreSQL ${major} is too old: Taskwire needs ${MINIMUM_VERSION} or newer. Point DATABASE_URL at one.`)
}

async function readServerVersion(client: postgres.Sql): Promise<number> {
  const [row] = await client<{ server_version_num: string }[]>`show server_version_num`
  return Number(row?.server_version_num)
}
