/** Reads what may hold tasks back, for processes that create them. */
import type { Database, Statement } from '../../db/database.js'
import type { PauseKind } from '../../protocol/release.js'

/** A limit as far as it matters here: which tasks it is about. Null stands for any. */
export interface LimitScope {
  types: string[] | null
  queue: string | null
  tenant: string | null
}

/** A pause as far as it matters here. Tasks with a key are gated anyway. */
export interface PauseScope {
  kind: Exclude<PauseKind, 'key'>
  name: string
}

export interface Gates {
  limits: LimitScope[]
  pauses: PauseScope[]
  /** The first two tenants of each queue: with more than one, it is shared. */
  queueTenants: { queue: string; tenant: string }[]
}

const READ_GATES: Statement = {
  name: 'read_gates',
  text: `
with recursive queues as (
  (select q.queue from taskwire.queue_tenants q order by q.queue limit 1)
  union all
  select (select q.queue from taskwire.queue_tenants q where q.queue > n.queue order by q.queue limit 1) from queues n where n.queue is not null
)
select
  coalesce((select json_agg(json_build_object('types', l.types, 'queue', l.queue, 'tenant', l.tenant)) from taskwire.limits l where l.per <> 'key'), '[]') as limits,
  coalesce((
    select json_agg(json_build_object('kind', p.kind, 'name', p.name))
    from taskwire.pauses p
    where p.kind <> 'key' and (p.until is null or p.until > now())
  ), '[]') as pauses,
  coalesce((
    select json_agg(json_build_object('queue', q.queue, 'tenant', q.tenant))
    from queues n, lateral (
      select q.queue, q.tenant from taskwire.queue_tenants q where q.queue = n.queue order by q.tenant limit 2
    ) q
  ), '[]') as "queueTenants"`,
}

export async function readGates(db: Database): Promise<Gates> {
  const [row] = await db.run<Gates>(READ_GATES, [])
  return row ?? { limits: [], pauses: [], queueTenants: [] }
}
