import type { Database, Statement } from '../../db/database.js'

const PRUNE_RATES: Statement = {
  name: 'prune_rates',
  text: `
delete from taskwire.rates r
where (r.limit_name, r.subject) in (
  select p.limit_name, p.subject from taskwire.rates p where p.next_at < now() - interval '1 minute' limit 1000
)`,
}

/** Deletes the state of rates that count nothing any more: a rate per key has one row for each key. */
export async function pruneRates(db: Database): Promise<void> {
  await db.run(PRUNE_RATES, [])
}
