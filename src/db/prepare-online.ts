/**
 * Runs the slow part of migrations while other processes use the database.
 *
 * All migrations run in one transaction, and building an index inside a transaction blocks every writer: some seconds
 * for a million tasks. So the statements of a migration that begins with `-- online:` must be safe to run twice. They
 * run here first, one by one, each index with `concurrently`. The migration itself then finds everything done and holds
 * its locks for milliseconds.
 *
 * A statement that fails here only ends the preparation. The migration then runs the same statement and reports the
 * error.
 * @see https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
 */
import type { MigrationMeta } from 'drizzle-orm/migrator'
import type postgres from 'postgres'

const IS_ONLINE = /^-- online:/
const CREATE_INDEX = /^CREATE INDEX IF NOT EXISTS "(\w+)"/m

/** @param missing the migrations that the database lacks, in order */
export async function prepareOnline(
  client: postgres.Sql,
  missing: readonly Pick<MigrationMeta, 'sql'>[],
): Promise<void> {
  const [row] = await client<{ exists: boolean }[]>`select to_regclass('taskwire.tasks') is not null as exists`
  // A new database has no tables yet, and no other process to hold up.
  if (!row?.exists) return
  const statements = missing.filter(({ sql: [first = ''] }) => IS_ONLINE.test(first)).flatMap(({ sql }) => sql)
  // Indexes left behind by an interrupted preparation.
  await dropInvalid(client, statements)
  try {
    for (const statement of statements)
      await client.unsafe(statement.replace(CREATE_INDEX, 'CREATE INDEX CONCURRENTLY IF NOT EXISTS "$1"'))
  } catch {
    await dropInvalid(client, statements)
  }
}

/** Drops unfinished indexes: such an index keeps its name but is never used. */
async function dropInvalid(client: postgres.Sql, statements: readonly string[]): Promise<void> {
  const names = statements.map((statement) => CREATE_INDEX.exec(statement)?.[1]).filter((name) => name !== undefined)
  const invalid = await client<{ name: string }[]>`
    select i.indexrelid::regclass::text as name from pg_index i join pg_class c on c.oid = i.indexrelid
    join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'taskwire' and not i.indisvalid`
  for (const { name } of invalid)
    if (names.some((known) => name.endsWith(known))) await client.unsafe(`drop index concurrently if exists ${name}`)
}
