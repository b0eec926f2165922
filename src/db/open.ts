/** The database over postgres.js, for `worker` and `relay`. */
import { drizzle } from 'drizzle-orm/postgres-js'
import pg from 'pg'
import postgres from 'postgres'
import { withDeadline } from '../timing/deadline.js'
import { retryConflicts } from './conflict.js'
import { toPgConfig, toPostgresOptions } from './database-url.js'
import { STATEMENT_SETTINGS, type Database, type Parameter, type Statement } from './database.js'
import { POSTGRES_TYPES } from './instant.js'
import * as schema from './schema.js'
import { runTransaction } from './wrap-pool.js'

export interface OpenDatabaseOptions {
  /** Connections for statements. Queries through `orm` have two more. Default 4. */
  maxConnections?: number
  /**
   * How long a statement may take before its connections are given up: a frozen connection reports no error. Default
   * 5,000.
   */
  deadlineMs?: number
  /** Shown in `pg_stat_activity`. Default `taskwire`. */
  applicationName?: string
}

/** A statement was not answered in time. Whether it took effect is unknown. */
class StatementTimeoutError extends Error {
  override readonly name = 'StatementTimeoutError'
}

/** After this many consecutive statements without an answer, the connections of `orm` are given up as well. */
const MAX_TIMEOUTS = 2
/** Handlers' transactions that may be open at the same time. Further ones wait. */
const MAX_TRANSACTIONS = 8

/**
 * Opens postgres.js clients, which connect on first use and reconnect by themselves. drizzle changes how its client
 * reads times and JSON, so it gets a separate client.
 *
 * Neither the client nor, for many minutes, the operating system notices a frozen connection. When a statement is not
 * answered in time, all connections of its client are given up, and the next statement uses new ones.
 *
 * Transactions, which handlers write, use node-postgres: with postgres.js, a statement in a transaction whose
 * connection was lost throws where no caller can catch it. Their pool is created on first use.
 */
export function openDatabase(databaseUrl: string, options: OpenDatabaseOptions = {}): Database {
  const applicationName = options.applicationName ?? 'taskwire'
  const needs = { applicationName, connectTimeoutSeconds: 5 }
  const connect = (max: number, settings: { options?: string } = {}) =>
    postgres({
      ...toPostgresOptions(databaseUrl, { ...needs, ...settings }),
      max,
      types: POSTGRES_TYPES,
      onnotice: () => {},
    })
  const connectStatements = () => connect(options.maxConnections ?? 4, { options: STATEMENT_SETTINGS })
  const connectQueries = () => {
    const client = connect(2)
    return { client, orm: drizzle(client, { schema }) }
  }
  const deadlineMs = options.deadlineMs ?? 5_000
  let statements = connectStatements()
  let queries = connectQueries()
  let timeouts = 0
  let transactions: pg.Pool | undefined

  function openTransactions(): pg.Pool {
    const pool = new pg.Pool({ ...toPgConfig(databaseUrl, needs), max: MAX_TRANSACTIONS })
    pool.on('error', () => {})
    // A checked-out client has no other listener, and an error without a listener ends the process.
    pool.on('connect', (client) => client.on('error', () => {}))
    return pool
  }

  function giveUp(client: typeof statements): void {
    if (client !== statements) return
    timeouts += 1
    statements = connectStatements()
    void client.end({ timeout: 0 })
    if (timeouts < MAX_TIMEOUTS) return
    timeouts = 0
    const { client: old } = queries
    queries = connectQueries()
    void old.end({ timeout: 0 })
  }

  async function runInTime<Row>(statement: Statement, parameters: readonly Parameter[]): Promise<Row[]> {
    const client = statements
    const rows = client.unsafe(statement.text, [...parameters], { prepare: !statement.forceCustomPlan })
    const limitMs = statement.deadlineMs ?? deadlineMs
    const late = () =>
      new StatementTimeoutError(`PostgreSQL did not answer the statement ${statement.name} within ${limitMs} ms`)
    try {
      const answer = await withDeadline(rows, limitMs, late)
      timeouts = 0
      return answer as unknown as Row[]
    } catch (error) {
      if (error instanceof StatementTimeoutError) giveUp(client)
      throw error
    }
  }

  return {
    get orm() {
      return queries.orm
    },
    run: (statement, parameters) => retryConflicts(() => runInTime(statement, parameters)),
    async transaction(work) {
      transactions ??= openTransactions()
      return runTransaction(transactions, work)
    },
    async close() {
      const pool = transactions
      transactions = undefined
      await Promise.all([pool?.end(), statements.end({ timeout: 5 }), queries.client.end({ timeout: 5 })])
    },
  }
}
