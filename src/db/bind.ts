/** A statement of the hot path as part of a transaction over drizzle. */
import { sql, type SQL } from 'drizzle-orm'
import type { Orm, Statement } from './database.js'

export function bind({ text }: Statement, parameters: readonly (string | number | null)[]): SQL {
  const parts = text.split(/\$(\d+)/).map((part, index) => (index % 2 === 0 ? sql.raw(part) : sql`${parameters[Number(part) - 1]}`))
  return sql.join(parts, sql.raw(''))
}

/** Runs it in the transaction (which is node-postgres', in every role). */
export async function runIn<Row>(transaction: Orm, statement: Statement, parameters: readonly (string | number | null)[]): Promise<Row[]> {
  const answer = (await transaction.execute(bind(statement, parameters))) as unknown as { rows: Row[] }
  return answer.rows
}
