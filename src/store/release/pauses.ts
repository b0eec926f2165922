/**
 * Pauses: no attempt of this queue, type, tenant or key starts. What runs goes on, and what waits may still expire or be
 * cancelled.
 */
import type { Principal } from '../../access/principal.js'
import type { Database, Statement, Transaction } from '../../db/database.js'
import type { Pause, PauseKind, PutPause } from '../../protocol/release.js'
import { endRamp, startRamp } from './ramps.js'
import { wakeLanes, whileNothingStarts } from './set-limit.js'

/** The longest pause that a task may set. */
export const MAX_KEY_PAUSE_MS = 7 * 86_400_000

/** Tasks may pause any number of keys. */
const MAX_LISTED = 1_000

interface PauseRow {
  kind: PauseKind
  name: string
  reason: string | null
  setBy: string
  setAt: Date
  until: Date | null
}

const COLUMNS = 'p.kind, p.name, p.reason, p.set_by as "setBy", p.set_at as "setAt", p.until'

const LIST_PAUSES: Statement = {
  name: 'list_pauses',
  text: `
select ${COLUMNS}
from taskwire.pauses p
where (p.until is null or p.until > now()) and p.tenant in ('', $1)
order by p.kind = 'key', p.set_at desc, p.kind, p.name
limit ${MAX_LISTED}`,
}

/** At most 1,000: those of queues, types and tenants, then those of the principal's own keys; newest first. */
export async function listPauses(principal: Principal, db: Database): Promise<Pause[]> {
  return (await db.run<PauseRow>(LIST_PAUSES, [principal.tenant])).map(toPause)
}

const LIST_OLD_PAUSES: Statement = {
  name: 'list_old_pauses',
  text: `
select ${COLUMNS}
from taskwire.pauses p
where p.set_at < now() - interval '1 day' and (p.until is null or p.until > now())
order by p.set_at
limit ${MAX_LISTED}`,
}

/** Pauses set more than a day ago, which may have been forgotten: the 1,000 oldest of all tenants. */
export async function listOldPauses(db: Database): Promise<Pause[]> {
  return (await db.run<PauseRow>(LIST_OLD_PAUSES, [])).map(toPause)
}

const PUT_PAUSE: Statement = {
  name: 'put_pause',
  text: `
insert into taskwire.pauses as p (kind, tenant, name, reason, set_by, until)
select $1, $2, $3, $4, $5, $6::text::timestamptz
where $6::text is null or $6::text::timestamptz > now()
on conflict (kind, tenant, name) do update
set reason = excluded.reason, set_by = excluded.set_by, set_at = now(), until = excluded.until
returning ${COLUMNS}`,
}

/**
 * Pauses, or replaces the pause. When this returns, nothing starts any more.
 * @returns undefined if `until` has passed; nothing was changed
 */
export async function putPause(
  principal: Principal,
  db: Database,
  kind: PauseKind,
  name: string,
  { reason = null, until }: { reason?: string | null } & Pick<PutPause, 'until'>,
): Promise<Pause | undefined> {
  const end = until === undefined ? null : new Date(until).toISOString()
  const tenant = ownerOf(principal, kind)
  return whileNothingStarts(db, async (transaction) => {
    const [row] = await transaction.run<PauseRow>(PUT_PAUSE, [kind, tenant, name, reason, principal.actor, end])
    if (row === undefined) return undefined
    if (kind !== 'key') {
      // Its ramp is set now, so that it holds at the very end of the pause.
      if (end === null) await endRamp(transaction, { kind, name })
      else await startRamp(transaction, { kind, name }, end, principal.actor)
    }
    if (end !== null) await wakeLanes(transaction, blockerOf(kind, tenant, name), end)
    return toPause(row)
  })
}

const DELETE_PAUSE: Statement = {
  name: 'delete_pause',
  text: `
with deleted as (
  delete from taskwire.pauses where kind = $1 and tenant = $2 and name = $3 returning kind, name
), breaker as (
  -- What failed before the person has ended the pause does not open the breaker again.
  update taskwire.breakers b set changed_at = now() from deleted d where d.kind = 'type' and b.type = d.name
)
select now() as at from deleted`,
}

/** Whether tasks wait that the pause has held. */
const HAS_WAITING: Statement = {
  name: 'has_waiting_in_scope',
  text: `
select exists (
    select from taskwire.lanes l where l.is_waiting and case $1 when 'queue' then l.queue when 'type' then l.type else l.tenant end = $2
  ) or exists (
    select from taskwire.arrivals a where case $1 when 'queue' then a.queue when 'type' then a.type else a.tenant end = $2
  ) as "hasWaiting"`,
}

/**
 * Ends a pause. What waits starts slowly, see `ramps.ts`.
 * @returns whether there was one
 */
export async function deletePause(principal: Principal, db: Database, kind: PauseKind, name: string): Promise<boolean> {
  const tenant = ownerOf(principal, kind)
  return whileNothingStarts(db, async (transaction) => {
    const [deleted] = await transaction.run<{ at: Date }>(DELETE_PAUSE, [kind, tenant, name])
    if (deleted === undefined) return false
    if (kind !== 'key') await replaceRamp(transaction, { kind, name }, deleted.at, principal.actor)
    await wakeLanes(transaction, blockerOf(kind, tenant, name))
    return true
  })
}

async function replaceRamp(
  transaction: Transaction,
  scope: { kind: PauseKind; name: string },
  at: Date,
  by: string,
): Promise<void> {
  const [answer] = await transaction.run<{ hasWaiting: boolean }>(HAS_WAITING, [scope.kind, scope.name])
  if (answer?.hasWaiting === true) await startRamp(transaction, scope, at.toISOString(), by)
  else await endRamp(transaction, scope)
}

const PAUSE_KEY: Statement = {
  name: 'pause_key',
  text: `
with written as (
  insert into taskwire.pauses as p (kind, tenant, name, reason, set_by, until)
  select 'key', $1, $2, $3, $4, least(coalesce($5::text::timestamptz, now() + $6::double precision * interval '1 ms'), now() + ${MAX_KEY_PAUSE_MS} * interval '1 ms')
  where coalesce($5::text::timestamptz > now(), $6::double precision > 0)
  on conflict (kind, tenant, name) do update
  set reason = excluded.reason, set_by = excluded.set_by, set_at = now(), until = excluded.until
  where p.until < excluded.until
  returning p.until
)
insert into taskwire.wakes (blocked_by, at)
select 'pause key ' || $1 || ' ' || $2, until from written`,
}

/**
 * Pauses a key on behalf of a running task, for at most seven days. Never ends another pause of the key sooner.
 * @param end a time, or a number of milliseconds from now
 */
export async function pauseKey(
  principal: Principal,
  db: Database,
  key: string,
  end: string | number,
  reason: string | null,
): Promise<void> {
  const [until, forMs] = typeof end === 'string' ? [end, null] : [null, end]
  await db.run(PAUSE_KEY, [principal.tenant, key, reason, principal.actor, until, forMs])
}

const DELETE_ENDED_PAUSES: Statement = {
  name: 'delete_ended_pauses',
  text: `
with ended as (delete from taskwire.pauses where until <= now() returning kind, tenant, name)
insert into taskwire.wakes (blocked_by)
select 'pause ' || kind || ' ' || tenant || ' ' || name from ended`,
}

/** Deletes the pauses that have ended by themselves. Their wakes and ramps are set already. */
export async function deleteEndedPauses(db: Database): Promise<void> {
  await db.run(DELETE_ENDED_PAUSES, [])
}

/** A key belongs to the tenant that pauses it. */
function ownerOf({ tenant }: Principal, kind: PauseKind): string {
  return kind === 'key' ? tenant : ''
}

/** As `taskwire.find_blocker` writes it. */
function blockerOf(kind: PauseKind, tenant: string, name: string): string {
  return `pause ${kind} ${tenant} ${name}`
}

function toPause({ setAt, until, ...row }: PauseRow): Pause {
  return { ...row, setAt: setAt.toISOString(), until: until && until.toISOString() }
}
