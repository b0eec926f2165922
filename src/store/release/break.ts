/**
 * The breaker: pauses types whose attempts nearly all fail for the same reason, as the workers count them. The pause ends
 * by itself, and if that goes on, the next one is longer.
 *
 * A type that is paused already is left alone. When a pause of the breaker is over, the first few attempts decide.
 */
import type { Database, Statement } from '../../db/database.js'
import { startRamp } from './ramps.js'
import { wakeLanes, whileNothingStarts } from './set-limit.js'

/** The author of the breaker's pauses. */
const BREAKER = 'the breaker'

/** The share of attempts that must fail for one reason. */
const SHARE = 0.95
/** After a pause of the breaker, this many failures suffice. */
const RETRIAL_ATTEMPTS = 3
/** After a pause of the breaker, one task starts in this time, until the ramp ends. */
const TRIAL_PERIOD_MS = 1_000
const FIRST_PAUSE_SECONDS = 30
const LONGEST_PAUSE_SECONDS = 600
/** A breaker that has been quiet for this long begins anew. */
const FORGET_SECONDS = 1_800

/**
 * The types that fail now. A count that began before the breaker opened, or before a person ended its pause, says nothing
 * about what has happened since.
 */
const FAILING = `reported as (
  select o->>'type' as type, o->>'reason' as reason, (o->>'failed')::numeric as failed, (o->>'ended')::numeric as ended
  from taskwire.workers w,
    jsonb_path_query(coalesce(w.outcomes, '[]'), '$[*] ? (@.failed.type() == "number" && @.ended.type() == "number" && @.ageMs.type() == "number")') o
  where w.lease_until > now() and not exists (
    select from taskwire.breakers b where b.type = o->>'type' and w.seen_at - (o->>'ageMs')::double precision * interval '1 ms' < b.changed_at
  )
), counted as (
  select type, reason, sum(failed) as failed from reported group by type, reason
), ended as (
  select type, sum(ended) as ended from reported group by type
), failing as (
  select distinct on (c.type) c.type, c.reason, c.failed, e.ended, coalesce(b.trips, 0) as trips
  from counted c
  join ended e on e.type = c.type
  left join taskwire.breakers b on b.type = c.type and b.changed_at > now() - ${FORGET_SECONDS} * interval '1 s'
  where c.failed >= ${SHARE} * e.ended and c.failed >= case when b.type is null then $1::integer else least($1::integer, ${RETRIAL_ATTEMPTS}) end
    and not exists (select from taskwire.pauses p where p.kind = 'type' and p.tenant = '' and p.name = c.type)
  order by c.type, c.failed desc
)`

const FIND_FAILING: Statement = { name: 'find_failing_types', text: `with ${FAILING} select f.type from failing f` }

const BREAK_TYPES: Statement = {
  name: 'break_types',
  text: `
with ${FAILING}, opened as (
  insert into taskwire.pauses (kind, tenant, name, reason, set_by, until)
  select 'type', '', f.type, f.failed || ' of ' || f.ended || ' attempts failed within a minute: ' || f.reason, '${BREAKER}',
    now() + least(${LONGEST_PAUSE_SECONDS}, ${FIRST_PAUSE_SECONDS} * power(2, least(f.trips, 10))) * interval '1 s'
  from failing f
  on conflict do nothing
  returning name as type, reason, until
), noted as (
  insert into taskwire.breakers as b (type, changed_at, trips)
  select o.type, now(), f.trips + 1
  from opened o join failing f on f.type = o.type
  on conflict (type) do update set changed_at = excluded.changed_at, trips = excluded.trips
)
select o.type, o.reason, o.until
from opened o`,
}

export interface BrokenType {
  type: string
  reason: string
  until: Date
}

/**
 * Pauses the types that fail. Safe in several relays at once.
 * @param minAttempts so many failures within a minute, over all workers, make a type fail
 */
export async function breakFailingTypes(db: Database, minAttempts: number): Promise<BrokenType[]> {
  const failing = await db.run(FIND_FAILING, [minAttempts])
  if (failing.length === 0) return []
  return whileNothingStarts(db, async (transaction) => {
    const broken = await transaction.run<BrokenType>(BREAK_TYPES, [minAttempts])
    for (const { type, until } of broken) {
      // When the pause is over, a few tasks try, so that not many fail in vain.
      await startRamp(transaction, { kind: 'type', name: type }, until.toISOString(), BREAKER, TRIAL_PERIOD_MS)
      await wakeLanes(transaction, `pause type  ${type}`, until.toISOString())
    }
    return broken
  })
}
