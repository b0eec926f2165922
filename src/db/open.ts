/** The database over postgres.js, for `worker` and `relay`. */
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { STATEMENT_SETTINGS, type Database, type Statement } from './database.js'
import * as schema from './schema.js'

export interface OpenDatabaseOptions {
  /** Connections for statements; queries through `orm` have two more. Default 4. */
  maxConnections?: number
  /** Shown in `pg_stat_activity`. Default `taskwire`. */
  applicationName?: string
}

/**
 * Opens postgres.js clients, which connect on first use and reconnect by themselves. drizzle changes how its client
 * reads times and JSON, so it gets one of its own.
 */
export function openDatabase(databaseUrl: string, options: OpenDatabaseOptions = {}): Database {
  const connect = (max: number, settings: { options?: string } = {}) =>
    postgres(databaseUrl, {
      max,
      connect_timeout: 5,
      onnotice: () => {},
      connection: { application_name: options.applicationName ?? 'taskwire', ...settings },
    })
  const statements = connect(options.maxConnections ?? 4, { options: STATEMENT_SETTINGS })
  const queries = connect(2)
  return {
    orm: drizzle(queries, { schema }),
    async run<Row>(statement: Statement, parameters: readonly (string | number | null)[]) {
      const rows = await statements.unsafe(statement.text, [...parameters], { prepare: true })
      return rows as unknown as Row[]
    },
    async close() {
      await Promise.all([statements.end({ timeout: 5 }), queries.end({ timeout: 5 })])
    },
  }
}
