/**
 * Writes limits so that they hold from the moment they are set: what runs already is counted, and no claim that has not
 * seen the limit commits after it.
 */
import { toArrayLiteral } from '../../db/array-literal.js'
import { retryConflicts } from '../../db/conflict.js'
import type { Database, Statement, Transaction } from '../../db/database.js'
import { limitApplies } from './gates.js'

/** A limit to write. Null stands for any; either `concurrency`, `rate` or `rampSince` is given. */
export interface LimitRow {
  name: string
  types: readonly string[] | null
  queue: string | null
  tenant: string | null
  per: 'all' | 'tenant' | 'key'
  concurrency: number | null
  rate: number | null
  periodMs: number | null
  burst: number | null
  whenOver: 'delay' | 'skip'
  /** For the end of a pause: a time from which the limit is 1 and doubles each second. */
  rampSince: string | null
  isFromCode: boolean
  by: string
  reason: string | null
}

/** How long to wait for statements under way. Claims wait meanwhile. Then the transaction is tried again. */
const SET_LOCK_TIMEOUT: Statement = { name: 'set_limit_lock_timeout', text: `set local lock_timeout = '2s'` }
const LOCK_RELEASE: Statement = {
  name: 'lock_release',
  text: `select r.turn from taskwire.release_turns r where r.queue = '' for update`,
}
const LOCK_CLAIMS: Statement = {
  name: 'lock_claims',
  text: 'lock table taskwire.leases in share row exclusive mode',
}

/** Commits `work` while nothing is released. With `claims`, nothing is claimed either: claims before it are visible. */
export function whileNothingStarts<Value>(
  db: Database,
  work: (transaction: Transaction) => Promise<Value>,
  { claims = true } = {},
): Promise<Value> {
  return retryConflicts(() =>
    db.transaction(async (transaction) => {
      await transaction.run(SET_LOCK_TIMEOUT, [])
      await transaction.run(LOCK_RELEASE, [])
      if (claims) await transaction.run(LOCK_CLAIMS, [])
      return work(transaction)
    }),
  )
}

/**
 * The starts that a rate still counts stay counted when its numbers change. They are converted, so that a new rate takes
 * effect at once: a start counts for `period_ms / rate`.
 */
const CONVERT_RATES: Statement = {
  name: 'convert_rates',
  text: `
update taskwire.rates r
set next_at = clock_timestamp() + greatest(interval '0', r.next_at - clock_timestamp())
  * (($4::double precision / $3::double precision) / (l.period_ms / l.rate))
from taskwire.limits l
where l.name = $1 and r.limit_name = l.name and l.per = $2 and l.rate is not null and $3::double precision is not null`,
}

const DELETE_OTHER_RATES: Statement = {
  name: 'delete_other_rates',
  text: `
delete from taskwire.rates r
using taskwire.limits l
where l.name = $1 and r.limit_name = l.name and (l.per <> $2 or $3::double precision is null)`,
}

const WRITE_LIMIT: Statement = {
  name: 'write_limit',
  text: `
insert into taskwire.limits
  (name, types, queue, tenant, per, concurrency, rate, period_ms, burst, when_over, ramp_since, is_from_code, set_by, reason)
values ($1, $2::text::text[], $3, $4, $5, $6::integer, $7::integer, $8::double precision, $9::integer, $10, $11::text::timestamptz,
  $12::text::boolean, $13, $14)
on conflict (name) do update
set types = excluded.types, queue = excluded.queue, tenant = excluded.tenant, per = excluded.per,
  concurrency = excluded.concurrency, rate = excluded.rate, period_ms = excluded.period_ms, burst = excluded.burst,
  when_over = excluded.when_over, ramp_since = excluded.ramp_since, is_from_code = excluded.is_from_code,
  set_by = excluded.set_by, set_at = now(), reason = excluded.reason`,
}

const DELETE_HOLDS: Statement = {
  name: 'delete_holds_of_limit',
  text: 'delete from taskwire.holds where limit_name = $1',
}

/** Counts the attempts that run or are released. Their ends drop the holds. */
const COUNT_RUNNING: Statement = {
  name: 'count_running_in_limit',
  text: `
with released as (
  -- Locked: one that is cancelled meanwhile has dropped its holds already.
  select task_id from taskwire.deliveries where is_released order by task_id for update
), started as (
  select task_id from taskwire.leases union select task_id from released
), counted as (
  select t.id, taskwire.subject_of(l.per, t.tenant, coalesce(t.concurrency_key, '')) as subject
  from taskwire.limits l, started s
  join taskwire.tasks t on t.id = any(array[s.task_id])
  where l.name = $1 and l.rate is null and ${limitApplies('l', 't')}
), held as (
  insert into taskwire.holds (limit_name, subject, task_id)
  select $1, subject, id from counted
  on conflict do nothing
)
update taskwire.leases e set has_holds = true
from counted c
where e.task_id = any(array[c.id]) and not e.has_holds`,
}

const WAKE: Statement = {
  name: 'wake_lanes',
  text: `insert into taskwire.wakes (blocked_by, at) values ($1, coalesce($2::text::timestamptz, now()))`,
}

/** Has the lanes that this blocks checked again; `*` are all. @param at default: now */
export async function wakeLanes(transaction: Transaction, blockedBy: string, at: string | null = null): Promise<void> {
  await transaction.run(WAKE, [blockedBy, at])
}

/** Within `whileNothingStarts`. Replaces the limit of this name. */
export async function writeLimit(transaction: Transaction, limit: LimitRow): Promise<void> {
  const { name, per, rate, periodMs } = limit
  await transaction.run(CONVERT_RATES, [name, per, rate, periodMs])
  await transaction.run(DELETE_OTHER_RATES, [name, per, rate])
  await transaction.run(WRITE_LIMIT, [
    ...[name, limit.types && toArrayLiteral(limit.types), limit.queue, limit.tenant, per],
    ...[limit.concurrency, rate, periodMs, limit.burst, limit.whenOver],
    ...[limit.rampSince, String(limit.isFromCode), limit.by, limit.reason],
  ])
  await transaction.run(DELETE_HOLDS, [name])
  await transaction.run(COUNT_RUNNING, [name])
  await wakeLanes(transaction, '*')
}

const DELETE_LIMIT: Statement = {
  name: 'delete_limit',
  text: `
with deleted as (delete from taskwire.limits where name = $1 returning name),
  holds as (delete from taskwire.holds where limit_name = $1),
  rates as (delete from taskwire.rates where limit_name = $1)
select name from deleted`,
}

/** Within `whileNothingStarts`. Does nothing when there is none. */
export async function removeLimit(transaction: Transaction, name: string): Promise<void> {
  const deleted = await transaction.run(DELETE_LIMIT, [name])
  if (deleted.length > 0) await wakeLanes(transaction, '*')
}
