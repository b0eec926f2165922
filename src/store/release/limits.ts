/** Limits as people set and see them. */
import type { Principal } from '../../access/principal.js'
import type { Database, Statement } from '../../db/database.js'
import type { Limit, PutLimit } from '../../protocol/release.js'
import { removeLimit, whileNothingStarts, writeLimit, type LimitRow } from './set-limit.js'

/** The most limits: each release and each claim reads them all. */
export const MAX_LIMITS = 1_000
/** Counts shown per limit: the highest. */
const MAX_USES = 100

interface ListedRow {
  name: string
  types: string[] | null
  queue: string | null
  tenant: string | null
  per: Limit['per']
  concurrency: number | null
  rate: number | null
  periodMs: number | null
  burst: number | null
  whenOver: Limit['whenOver']
  isRamp: boolean
  isFromCode: boolean
  setBy: string
  setAt: Date
  reason: string | null
  /** Attempts that it allows at a time; null for a rate. */
  allowed: number | null
  use: { subject: string; running: number | null; left: number }[]
}

/** Of keys, the counts of the principal's tenant. $1: its name, $2: one limit, or null for all. */
const LIST_LIMITS: Statement = {
  name: 'list_limits',
  text: `
select l.name, to_json(l.types) as types, l.queue, l.tenant, l.per, l.concurrency, l.rate, l.period_ms as "periodMs", l.burst, l.when_over as "whenOver",
  l.ramp_since is not null as "isRamp", l.is_from_code as "isFromCode", l.set_by as "setBy", l.set_at as "setAt", l.reason,
  case when l.rate is null then taskwire.allowed_by(l.concurrency, l.ramp_since) end as allowed,
  (
    select coalesce(json_agg(u order by u.running desc nulls last, u.left, u.subject), '[]')
    from (
      select * from (
        select h.subject, count(*)::integer as running, greatest(0, taskwire.allowed_by(l.concurrency, l.ramp_since) - count(*))::integer as left
        from taskwire.holds h
        where h.limit_name = l.name and l.rate is null and (l.per <> 'key' or h.subject::json->>0 = $1)
        group by h.subject
        order by count(*) desc, h.subject
        limit ${MAX_USES}
      ) held
      union all
      select * from (
        select r.subject, null::integer, taskwire.rate_room(l, r.subject)
        from taskwire.rates r
        where r.limit_name = l.name and l.rate is not null and r.next_at > clock_timestamp() and (l.per <> 'key' or r.subject::json->>0 = $1)
        order by r.next_at desc, r.subject
        limit ${MAX_USES}
      ) started
    ) u
  ) as use
from taskwire.limits l
where l.name = $2 or $2::text is null
order by l.name`,
}

/** By name, with the counts that have the least left: those of all tasks, of tenants, and of the principal's own keys. */
export async function listLimits(principal: Principal, db: Database): Promise<Limit[]> {
  const rows = await db.run<ListedRow>(LIST_LIMITS, [principal.tenant, null])
  return rows.map((row) => toLimit(row))
}

const COUNT_OTHER_LIMITS: Statement = {
  name: 'count_other_limits',
  text: 'select count(*)::integer as count from taskwire.limits where name <> $1',
}

/**
 * Sets a limit, or replaces the one of this name, and counts what runs. It holds when this returns.
 * @returns undefined if there are `MAX_LIMITS` others; nothing was changed
 */
export async function putLimit(
  principal: Principal,
  db: Database,
  name: string,
  limit: PutLimit,
): Promise<Limit | undefined> {
  const row = toRow(name, limit, principal.actor)
  return whileNothingStarts(
    db,
    async (transaction) => {
      const [others] = await transaction.run<{ count: number }>(COUNT_OTHER_LIMITS, [name])
      if (others !== undefined && others.count >= MAX_LIMITS) return undefined
      await writeLimit(transaction, row)
      const [written] = await transaction.run<ListedRow>(LIST_LIMITS, [principal.tenant, name])
      if (written === undefined) throw new Error(`the limit ${name} was not written`)
      return toLimit(written)
    },
    { claims: row.rate === null },
  )
}

function toRow(name: string, limit: PutLimit, by: string): LimitRow {
  const {
    types,
    queue = null,
    tenant = null,
    per = 'all',
    concurrency = null,
    rate,
    whenOver = 'delay',
    reason,
  } = limit
  return {
    name,
    types: types === undefined ? null : [...new Set(types)],
    queue,
    tenant,
    per,
    concurrency,
    rate: rate?.limit ?? null,
    periodMs: rate?.periodMs ?? null,
    burst: rate === undefined ? null : (rate.burst ?? 1),
    whenOver,
    rampSince: null,
    isFromCode: false,
    by,
    reason: reason ?? null,
  }
}

const FIND_SOURCE: Statement = {
  name: 'find_limit_source',
  text: 'select is_from_code as "isFromCode" from taskwire.limits where name = $1 for update',
}

/** Deletes a limit, unless the code of a type sets it. What it held back may start. */
export function deleteLimit(db: Database, name: string): Promise<'deleted' | 'unknown' | 'of code'> {
  return whileNothingStarts(
    db,
    async (transaction) => {
      const [found] = await transaction.run<{ isFromCode: boolean }>(FIND_SOURCE, [name])
      if (found === undefined) return 'unknown'
      if (found.isFromCode) return 'of code'
      await removeLimit(transaction, name)
      return 'deleted'
    },
    { claims: false },
  )
}

function toLimit(row: ListedRow): Limit {
  const { types, queue, tenant, per, concurrency, rate, periodMs, burst, allowed } = row
  // Something that is not counted at the moment has all of its room.
  const unused = { subject: '', running: rate === null ? 0 : null, left: allowed ?? burst ?? 0 }
  const uses = row.use.length === 0 && per === 'all' ? [unused] : row.use
  return {
    name: row.name,
    types,
    queue,
    tenant,
    per,
    concurrency,
    rate: rate === null ? null : { limit: rate, periodMs: periodMs ?? 0, burst: burst ?? 1 },
    whenOver: row.whenOver,
    source: row.isRamp ? 'resume' : row.isFromCode ? 'code' : 'api',
    setBy: row.setBy,
    setAt: row.setAt.toISOString(),
    reason: row.reason,
    use: uses.map(({ subject, running, left }) => ({ ...readSubject(per, subject), running, left })),
  }
}

/** See `taskwire.subject_of`. */
function readSubject(per: Limit['per'], subject: string): { tenant: string | null; key: string | null } {
  if (per === 'all') return { tenant: null, key: null }
  if (per === 'tenant') return { tenant: subject, key: null }
  const [owner = null, key = null] = JSON.parse(subject) as string[]
  return { tenant: owner, key }
}
