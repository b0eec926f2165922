/**
 * Reads what may hold waiting tasks: whether a worker takes them, pauses, limits and sequences. `tasks/release/` decides
 * which of these is the reason, and how it is said.
 *
 * The cost depends on the number of tasks asked for, and on the workers, limits and pauses, never on the number of tasks
 * that wait: every count is bounded.
 *
 * Tasks of other tenants are counted, and neither named nor shown.
 */
import type { Database, Statement } from '../../db/database.js'
import { inStatuses } from '../../db/status-sql.js'
import type { PauseKind, Per } from '../../protocol/release.js'
import { DELIVERABLE_STATUSES, type Status } from '../../protocol/status.js'
import type { TaskId } from '../../protocol/task.js'
import { isPausedBy, limitApplies } from './gates.js'

/** Counts go no further. */
export const MAX_COUNTED = 10_000
/** The most tasks named as the reason. */
const MAX_NAMED = 5
/** The most attempts searched for those of the tenant. */
const MAX_SEARCHED = 200
/** The most limits that are read for one task. */
const MAX_LIMITS = 20
/** The most tasks of a sequence that are read for one of those behind them. */
const MAX_MEMBERS = 20

/** A task of a tenant. One of another tenant is not found. */
export interface TaskOfTenant {
  id: TaskId
  tenant: string
}

/** Times are milliseconds since 1970, by PostgreSQL's clock. */
export interface WaitFacts {
  id: TaskId
  tenant: string
  version: number
  status: (typeof DELIVERABLE_STATUSES)[number]
  attempt: number
  type: string
  queue: string
  nowAt: number
  /** When the next attempt is due; null when it is. */
  dueAt: number | null
  isReleased: boolean
  /** Slots of the workers that take tasks of the queue, and whether one of them knows the type. */
  slots: number
  isTypeKnown: boolean
  pause: PauseFacts | null
  /** Those that apply to the task, by name. */
  limits: LimitFacts[]
  sequence: SequenceFacts | null
}

export interface PauseFacts {
  kind: PauseKind
  name: string
  setBy: string
  reason: string | null
  until: number | null
}

export interface LimitFacts {
  name: string
  subject: string
  per: Per
  /** What it counts; null for all. */
  types: string[] | null
  queue: string | null
  tenant: string | null
  /** Null for a rate. */
  allowed: number | null
  /** Whether it allows more each second, after a pause. */
  isRamp: boolean
  held: number
  /** Tasks of the tenant that hold it. */
  heldBy: TaskId[]
  rate: number | null
  periodMs: number | null
  /** When a rate allows the next start; in the past when it does now. */
  nextAt: number | null
}

export interface SequenceFacts {
  /** The first task, which holds the others. */
  firstId: TaskId
  firstStatus: Status
  isHalted: boolean
  ahead: number
  /** Of the next 20 tasks ahead: when the last of them is due, and no longer paused; null when all of them are. */
  heldUntil: number | null
  /** Whether one of these has halted, or is paused without an end. */
  isHeldForever: boolean
}

const ms = (time: string) => `(extract(epoch from ${time}) * 1000)::double precision`

const READ_WAIT_FACTS: Statement = {
  name: 'read_wait_facts',
  text: `
with asked as materialized (
  select t.id, t.tenant, t.version, t.status, t.attempt, t.type, t.queue, t.run_at, t.concurrency_key, t.sequence_key, coalesce(t.cost, 1)::integer as cost,
    coalesce(d.is_released, false) as is_released
  from json_to_recordset($1::text::json) as i(id uuid, tenant text)
  join taskwire.tasks t on t.id = any(array[i.id]) and t.tenant = any(array[i.tenant])
  left join taskwire.deliveries d on d.task_id = any(array[t.id])
  where t.status ${inStatuses(DELIVERABLE_STATUSES)}
), serving as materialized (
  select w.types, q->>'name' as queue, case when q->>'slots' ~ '^\\d{1,5}$' then (q->>'slots')::integer else 0 end as slots
  from taskwire.workers w, jsonb_path_query(w.queues, '$[*]') q
  where w.lease_until > now() and not w.is_stopping and w.drained_at is null
), capacity as materialized (
  select p.queue, p.type, sum(s.slots)::integer as slots, bool_or(p.type = any(s.types)) as is_type_known
  from (select distinct a.queue, a.type from asked a) p join serving s on s.queue = p.queue
  group by p.queue, p.type
)
select a.id, a.tenant, a.version, a.status, a.attempt, a.type, a.queue, ${ms('clock_timestamp()')} as "nowAt",
  case when a.run_at > now() then ${ms('a.run_at')} end as "dueAt", a.is_released as "isReleased",
  coalesce(c.slots, 0) as slots, coalesce(c.is_type_known, false) as "isTypeKnown", pause.facts as pause,
  coalesce(limited.facts, '[]') as limits, sequence.facts as sequence
from asked a
left join capacity c on c.queue = a.queue and c.type = a.type
left join lateral (
  select json_build_object('kind', p.kind, 'name', p.name, 'setBy', p.set_by, 'reason', p.reason, 'until', ${ms('p.until')}) as facts
  from taskwire.pauses p
  where ${isPausedBy('p', 'a')}
  order by p.until desc nulls first, p.kind
  limit 1
) pause on true
left join lateral (
  select json_agg(json_build_object('name', l.name, 'subject', l.counted, 'per', l.per, 'types', l.types,
    'queue', l.queue, 'tenant', l.tenant, 'allowed', l.allowed, 'isRamp', l.is_ramp, 'held', l.held,
    'heldBy', l.held_by, 'rate', l.rate, 'periodMs', l.period_ms, 'nextAt', ${ms('l.next_at')}) order by l.name) as facts
  from (
    select l.name, s.counted, l.per, l.types, l.queue, l.tenant, s.allowed, l.ramp_since is not null as is_ramp, l.rate, l.period_ms,
      (select count(*) from (select from taskwire.holds h where h.limit_name = l.name and h.subject = s.counted limit ${MAX_COUNTED}) counted) as held,
      (
        select coalesce(json_agg(own.task_id), '[]')
        from (
          select h.task_id
          from (select h.task_id from taskwire.holds h where h.limit_name = l.name and h.subject = s.counted limit ${MAX_SEARCHED}) h
          join taskwire.tasks t on t.id = any(array[h.task_id])
          where t.tenant = a.tenant
          limit ${MAX_NAMED}
        ) own
      ) as held_by,
      case when l.rate is not null and l.when_over = 'delay' then taskwire.rate_allows_at(l, s.counted, a.cost) end as next_at
    from taskwire.limits l, lateral (
      select taskwire.subject_of(l.per, a.tenant, coalesce(a.concurrency_key, '')) as counted, taskwire.allowed_by(l.concurrency, l.ramp_since) as allowed
    ) s
    where not a.is_released and ${limitApplies('l', 'a')}
    order by l.name
    limit ${MAX_LIMITS}
  ) l
) limited on true
left join lateral (
  select json_build_object('firstId', f.task_id, 'firstStatus', h.status, 'isHalted', f.halted_at is not null, 'ahead', (
    select count(*)
    from (
      select from taskwire.sequence_members b
      where b.tenant = own.tenant and b.key = own.key and b.position < own.position and b.halted_at is null
      limit ${MAX_COUNTED}
    ) before
  ), 'heldUntil', ${ms('held.until')}, 'isHeldForever', held.is_forever) as facts
  from taskwire.sequence_members own
  cross join lateral (
    select b.task_id, b.halted_at
    from taskwire.sequence_members b
    where b.tenant = own.tenant and b.key = own.key
    order by b.position
    limit 1
  ) f
  join taskwire.tasks h on h.id = any(array[f.task_id])
  cross join lateral (
    select max(greatest(case when t.run_at > now() then t.run_at end, p.until)) as until, bool_or(b.halted_at is not null or p.is_endless) is true as is_forever
    from (
      select b.task_id, b.halted_at
      from taskwire.sequence_members b
      where b.tenant = own.tenant and b.key = own.key and b.position < own.position
      order by b.position
      limit ${MAX_MEMBERS}
    ) b
    left join taskwire.tasks t on t.id = any(array[b.task_id]) and t.status ${inStatuses(DELIVERABLE_STATUSES)}
    left join lateral (
      select max(p.until) as until, bool_or(p.until is null) as is_endless
      from taskwire.pauses p
      where ${isPausedBy('p', 't')}
    ) p on true
  ) held
  where a.sequence_key is not null and own.task_id = any(array[a.id]) and f.task_id <> a.id
  limit 1
) sequence on true`,
}

/** What may hold each of these tasks. Those that do not wait, and those of other tenants, are left out. */
export function readWaitFacts(db: Database, tasks: readonly TaskOfTenant[]): Promise<WaitFacts[]> {
  return db.run<WaitFacts>(READ_WAIT_FACTS, [JSON.stringify(tasks.map(({ id, tenant }) => ({ id, tenant })))])
}
