/**
 * The single seam over the two PostgreSQL drivers: `web` uses the node-postgres pool of @fastify/postgres, `worker` and
 * `relay` use postgres.js. The store is written once, against this interface.
 */
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import type * as schema from './schema.js'

/** drizzle over either driver. */
export type Orm = PgDatabase<PgQueryResultHKT, typeof schema>

/** A statement that the server prepares once per connection. Names are unique in the program. */
export interface Statement {
  readonly name: string
  readonly text: string
  /**
   * Plan each execution separately, because no single plan serves small and large tables. For infrequent statements.
   */
  readonly forceCustomPlan?: boolean
  /** Overrides the client's deadline for statements, where the client has one. */
  readonly deadlineMs?: number
}

export type Parameter = string | number | null

/** Runs queries: on the database itself, or inside a transaction. */
export interface Transaction {
  /** For queries whose shape depends on the request. */
  readonly orm: Orm
  /**
   * For the store's statements. Times arrive as Date and JSON arrives parsed. Arrays do not: select them as JSON. Pass JSON
   * parameters as text.
   */
  run<Row>(statement: Statement, parameters: readonly Parameter[]): Promise<Row[]>
}

export interface Database extends Transaction {
  /**
   * Commits what `work` does, or nothing when it rejects. When the connection is lost meanwhile, this rejects and the
   * outcome of the commit is unknown.
   */
  transaction<Value>(work: (transaction: Transaction) => Promise<Value>): Promise<Value>
  /** Closes the connections. Idempotent. */
  close(): Promise<void>
}

/**
 * Settings of the connections that run the store's statements.
 *
 * - `enable_seqscan=off`: each statement touches a few rows by key but is prepared while its tables may be nearly
 *   empty. Reading the whole table is then the cheapest plan, is kept while the table grows, and ends up a thousand
 *   times slower.
 * - `enable_bitmapscan=off`: rows asked for in index order are read in that order, and reading stops at the limit. On a
 *   table that was never analyzed, PostgreSQL would rather read every match and sort.
 * - Joins by id are written `t.id = any(array[i.id])`, and conditions beside them `t.attempt = any(array[i.attempt])`:
 *   an equality could be hashed, and PostgreSQL would read a whole table for it.
 * - `jit=off`: compiling such a statement costs more than running it.
 * - `read committed`: locks and conditions decide between concurrent statements on one task. A stricter isolation would
 *   only refuse some of them.
 * @see https://www.postgresql.org/docs/current/runtime-config-query.html
 */
export const STATEMENT_SETTINGS =
  '-c enable_seqscan=off -c enable_bitmapscan=off -c jit=off -c TimeZone=UTC -c default_transaction_isolation=read\\ committed'
