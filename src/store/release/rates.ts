import type { Database, Statement } from '../../db/database.js'

const DELETE_UNUSED_RATES: Statement = {
  name: 'delete_unused_rates',
  text: `
delete from taskwire.rates r
where (r.limit_name, r.subject) in (
  select p.limit_name, p.subject from taskwire.rates p where p.next_at < now() - interval '1 minute' limit $1::integer
)
returning 1`,
}

/**
 * Deletes the state of rates that count nothing any more: a rate per key has one row for each key.
 * @returns how many rows
 */
export async function deleteUnusedRates(db: Database, most: number): Promise<number> {
  return (await db.run(DELETE_UNUSED_RATES, [most])).length
}
