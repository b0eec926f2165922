/** The database over a node-postgres pool, for `web`. Separate from `open.ts`, so that `web` loads one driver only. */
import { drizzle } from 'drizzle-orm/node-postgres'
import type { Pool, PoolClient } from 'pg'
import { retryConflicts } from './conflict.js'
import type { Database, Parameter, Statement, Transaction } from './database.js'
import { PG_TYPES } from './instant.js'
import * as schema from './schema.js'

/** Wraps a node-postgres pool. The caller owns and closes it: in `web`, @fastify/postgres. */
export function wrapPool(pool: Pool): Database {
  const orm = drizzle(pool, { schema })
  return {
    orm,
    run: (statement, parameters) => retryConflicts(() => runOn(pool, statement, parameters)),
    transaction: (work) => runTransaction(pool, work),
    async close() {},
  }
}

/** A transaction over node-postgres. All roles use it. */
export async function runTransaction<Value>(
  pool: Pool,
  work: (transaction: Transaction) => Promise<Value>,
): Promise<Value> {
  const client = await pool.connect()
  try {
    return await drizzle(client, { schema }).transaction((orm) => {
      return work({ orm, run: (statement, parameters) => runOn(client, statement, parameters) })
    })
  } finally {
    client.release()
  }
}

async function runOn<Row>(
  client: Pool | PoolClient,
  { name, text, forceCustomPlan }: Statement,
  parameters: readonly Parameter[],
): Promise<Row[]> {
  const { rows } = await client.query({
    ...(!forceCustomPlan && { name }),
    text,
    values: [...parameters],
    types: PG_TYPES,
  })
  return rows as Row[]
}
