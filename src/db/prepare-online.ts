/**
 * Does the slow part of migrations beside the processes that use the database.
 *
 * All migrations run in one transaction, and an index that is built in one keeps every writer waiting: some seconds for a million
 * tasks. So a migration that begins with `-- online:` is written so that its statements may run twice, and runs here first, statement by
 * statement, each index with `concurrently`. The migration itself then finds everything done, and its locks last milliseconds.
 *
 * A statement that fails here ends the preparation, and nothing else: the migration does the same, and says what is wrong.
 * @see https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
 */
import type { MigrationMeta } from 'drizzle-orm/migrator'
import type postgres from 'postgres'

const IS_ONLINE = /^-- online:/
const CREATE_INDEX = /^CREATE INDEX IF NOT EXISTS "(\w+)"/m

/** @param missing the migrations that the database lacks, in their order */
export async function prepareOnline(client: postgres.Sql, missing: readonly Pick<MigrationMeta, 'sql'>[]): Promise<void> {
  const [row] = await client<{ exists: boolean }[]>`select to_regclass('taskwire.tasks') is not null as exists`
  // A new database has nobody to wait for, and no table to begin with.
  if (!row?.exists) return
  const statements = missing.filter(({ sql: [first = ''] }) => IS_ONLINE.test(first)).flatMap(({ sql }) => sql)
  // What an earlier preparation was stopped in.
  await dropInvalid(client, statements)
  try {
    for (const statement of statements) await client.unsafe(statement.replace(CREATE_INDEX, 'CREATE INDEX CONCURRENTLY IF NOT EXISTS "$1"'))
  } catch {
    await dropInvalid(client, statements)
  }
}

/** An index that could not be finished keeps its name and is never used. */
async function dropInvalid(client: postgres.Sql, statements: readonly string[]): Promise<void> {
  const names = statements.map((statement) => CREATE_INDEX.exec(statement)?.[1]).filter((name) => name !== undefined)
  const invalid = await client<{ name: string }[]>`
    select i.indexrelid::regclass::text as name from pg_index i join pg_class c on c.oid = i.indexrelid
    join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'taskwire' and not i.indisvalid`
  for (const { name } of invalid) if (names.some((known) => name.endsWith(known))) await client.unsafe(`drop index concurrently if exists ${name}`)
}
