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
  /** Connections for statements; queries through `orm` have two more. Default 4. */
  maxConnections?: number
  /** How long a statement may take before its connections are given up: a frozen line tells nobody. Default 5,000. */
  deadlineMs?: number
  /** Shown in `pg_stat_activity`. Default `taskwire`. */
  applicationName?: string
}

/** A statement had no answer in time. Whether it was done is not known. */
class StatementTimeoutError extends Error {
  override readonly name = 'StatementTimeoutError'
}

/** After so many statements without an answer, one after the other, the connections of `orm` are given up as well. */
const MAX_TIMEOUTS = 2
/** Transactions of handlers at the same time; more wait for their turn. */
const MAX_TRANSACTIONS = 8

/**
 * Opens postgres.js clients, which connect on first use and reconnect by themselves. drizzle changes how its client
 * reads times and JSON, so it gets one of its own.
 *
 * A line that is frozen is not noticed by the client, nor by the system for many minutes. A statement that has no answer in
 * time is given up with all connections of its client, and the next one is sent over new ones.
 *
 * Transactions, which handlers write, go over node-postgres: a statement on a postgres.js transaction whose connection was
 * lost throws where nobody can catch it. Its pool is made when it is first needed.
 */
export function openDatabase(databaseUrl: string, options: OpenDatabaseOptions = {}): Database {
  const applicationName = options.applicationName ?? 'taskwire'
  const needs = { applicationName, connectTimeoutSeconds: 5 }
  const connect = (max: number, settings: { options?: string } = {}) =>
    postgres({
      ...toPostgresOptions(databaseUrl, { ...needs, ...settings }),
      max,
      // It would ask for the types of arrays on each new connection, and a connection that is cut in that moment ends the
      // process with an unhandled rejection. So arrays come as JSON, or are read by drizzle.
      fetch_types: false,
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
    // A client that is lent out has no other listener, and an error without one ends the process.
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
    const late = () => new StatementTimeoutError(`PostgreSQL did not answer ${statement.name} within ${limitMs} ms`)
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
