/** Types whose handlers have ended a process: their tasks run where they can harm no other. */
import type { Database, Statement } from '../db/database.js'
import type { QuarantinedType } from '../protocol/worker.js'

const QUARANTINE_TYPE: Statement = {
  name: 'quarantine_type',
  text: `
insert into taskwire.quarantined_types as q (type, reason, until)
values ($1, $2, now() + $3::double precision * interval '1 ms')
on conflict (type) do update
set reason = excluded.reason,
  since = case when q.until > now() then q.since else now() end,
  until = greatest(q.until, excluded.until)`,
}

/** For `forMs` from now, or longer if the type was quarantined for longer before. */
export async function quarantineType(db: Database, type: string, reason: string, forMs: number): Promise<void> {
  await db.run(QUARANTINE_TYPE, [type, reason, forMs])
}

const LIST_QUARANTINED_TYPES: Statement = {
  name: 'list_quarantined_types',
  text: `
select q.type, q.reason, q.since, q.until
from taskwire.quarantined_types q
where q.until > now()
order by q.type`,
}

export async function listQuarantinedTypes(db: Database): Promise<QuarantinedType[]> {
  const rows = await db.run<{ type: string; reason: string; since: Date; until: Date }>(LIST_QUARANTINED_TYPES, [])
  return rows.map((row) => ({ ...row, since: row.since.toISOString(), until: row.until.toISOString() }))
}

/** For the heartbeat of workers: the types, as JSON, because one of the drivers does not parse arrays. */
export const QUARANTINED_NOW = `(select coalesce(json_agg(q.type), '[]') from taskwire.quarantined_types q where q.until > now())`
