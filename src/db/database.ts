/**
 * The one seam over the two PostgreSQL drivers: `web` runs on the node-postgres pool of @fastify/postgres, `worker` and
 * `relay` on postgres.js. The store is written once, against this.
 */
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import type * as schema from './schema.js'

/** drizzle over either driver. */
export type Orm = PgDatabase<PgQueryResultHKT, typeof schema>

/** A statement the server prepares once per connection. Names are unique in the program. */
export interface Statement {
  readonly name: string
  readonly text: string
  /** Planned for each execution, where no plan serves small tables and large ones: for what is not asked often. */
  readonly forceCustomPlan?: boolean
  /** How long an answer may take where the client sets a deadline, instead of that of every statement. */
  readonly deadlineMs?: number
}

export type Parameter = string | number | null

/** What asks PostgreSQL: the database, or a transaction on it. */
export interface Transaction {
  /** For queries whose shape depends on the request. */
  readonly orm: Orm
  /** For the statements of the store. Times arrive as Date, JSON parsed; pass JSON parameters as text. */
  run<Row>(statement: Statement, parameters: readonly Parameter[]): Promise<Row[]>
}

export interface Database extends Transaction {
  /**
   * Commits what `work` does, or nothing when it rejects. When the connection is lost meanwhile it rejects, and whether it was
   * committed is not known.
   */
  transaction<Value>(work: (transaction: Transaction) => Promise<Value>): Promise<Value>
  /** Closes the connections. Idempotent. */
  close(): Promise<void>
}

/**
 * Settings of the connections that run the store's statements. Each touches a few rows by key, but is prepared while its
 * tables may be nearly empty: a plan that reads a whole table is then the cheapest, is kept while it grows, and costs a
 * thousandfold. Without bitmaps what is asked for in the order of an index is read in that order, and the reading stops with the limit;
 * of a table that was never analyzed PostgreSQL would rather read all that fits and sort it. Compiling such a statement would cost more
 * than running it. What two statements do to one task is decided by locks and conditions, which a stricter isolation would only refuse.
 * @see https://www.postgresql.org/docs/current/runtime-config-query.html
 */
export const STATEMENT_SETTINGS =
  '-c enable_seqscan=off -c enable_bitmapscan=off -c jit=off -c TimeZone=UTC -c default_transaction_isolation=read\\ committed'
