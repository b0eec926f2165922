/** The database over a node-postgres pool, for `web`. Apart from `open.ts`, so that `web` loads one driver only. */
import { drizzle } from 'drizzle-orm/node-postgres'
import type { Pool } from 'pg'
import type { Database, Statement } from './database.js'
import * as schema from './schema.js'

/** Wraps a node-postgres pool that somebody else owns and closes: in `web`, @fastify/postgres. */
export function wrapPool(pool: Pool): Database {
  const orm = drizzle(pool, { schema })
  return {
    orm,
    transaction: (work) => orm.transaction(work),
    async run<Row>(statement: Statement, parameters: readonly (string | number | null)[]) {
      const { name, text, isPlannedAnew } = statement
      const { rows } = await pool.query({ ...(!isPlannedAnew && { name }), text, values: [...parameters] })
      return rows as Row[]
    },
    async close() {},
  }
}
