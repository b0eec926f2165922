/** Reads what may hold tasks back, for processes that create them. */
import type { Database, Statement } from '../../db/database.js'

/** A limit as far as it matters here: which tasks it is about. Null stands for any. */
export interface LimitScope {
  types: string[] | null
  queue: string | null
  tenant: string | null
}

export interface PauseScope {
  kind: 'queue' | 'type' | 'tenant' | 'key'
  tenant: string
  name: string
}

export interface Gates {
  limits: LimitScope[]
  pauses: PauseScope[]
  /** The tenants of each queue: with more than one, it is shared. */
  queueTenants: { queue: string; tenant: string }[]
}

/** More than this many tenants of all queues together are not read: their queues are shared anyway. */
const MAX_TENANTS = 10_000

const READ_GATES: Statement = {
  name: 'read_gates',
  text: `
select
  coalesce((select json_agg(json_build_object('types', l.types, 'queue', l.queue, 'tenant', l.tenant)) from taskwire.limits l where l.per <> 'key'), '[]') as limits,
  coalesce((
    select json_agg(json_build_object('kind', p.kind, 'tenant', p.tenant, 'name', p.name))
    from taskwire.pauses p
    where p.until is null or p.until > now()
  ), '[]') as pauses,
  coalesce((
    select json_agg(json_build_object('queue', q.queue, 'tenant', q.tenant))
    from (select * from taskwire.queue_tenants order by queue, tenant limit ${MAX_TENANTS}) q
  ), '[]') as "queueTenants"`,
}

export async function readGates(db: Database): Promise<Gates> {
  const [row] = await db.run<Gates>(READ_GATES, [])
  return row ?? { limits: [], pauses: [], queueTenants: [] }
}
