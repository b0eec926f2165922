/** Renews the leases of running attempts, and finds attempts whose lease has expired. */
import type { Database, Statement } from '../../db/database.js'
import type { AttemptRef } from './claim.js'

/** `current`: the leases of the attempts in $1, locked in the order of ids. */
const lockLeases = (condition = '') => `input as (
  select r."taskId" as id, r.attempt
  from json_to_recordset($1::text::json) as r("taskId" uuid, attempt integer)
), current as (
  select l.task_id
  from input i join taskwire.leases l on l.task_id = any(array[i.id])
  where l.attempt = any(array[i.attempt]) ${condition}
  order by i.id for update of l
)`

const RENEW_LEASES: Statement = {
  name: 'renew_leases',
  text: `
with ${lockLeases('and l.lease_until >= now()')}
update taskwire.leases l set lease_until = now() + $2::double precision * interval '1 ms'
from current c where l.task_id = any(array[c.task_id])
returning l.task_id as "taskId", l.attempt, (select t.status = 'CANCELLING' from taskwire.tasks t where t.id = any(array[l.task_id])) as "isCancelling"`,
}

export interface RenewedLease extends AttemptRef {
  /** Cancellation of the task was requested. */
  isCancelling: boolean
}

/**
 * Extends the leases that still hold, and returns their attempts. An expired lease stays expired: from then on the
 * attempt may be rescued at any moment, and its worker must give it up.
 */
export function renewLeasesIfHeld(db: Database, refs: readonly AttemptRef[], leaseMs: number): Promise<RenewedLease[]> {
  return db.run<RenewedLease>(RENEW_LEASES, [JSON.stringify(refs), leaseMs])
}

const GIVE_UP_LEASES: Statement = {
  name: 'give_up_leases',
  text: `
with ${lockLeases()}
update taskwire.leases l set lease_until = least(l.lease_until, now() + $2::double precision * interval '1 ms')
from current c where l.task_id = any(array[c.task_id])`,
}

/** Lets the leases of a worker that is about to end expire within `afterMs`, if they would last longer. */
export async function giveUpLeases(db: Database, refs: readonly AttemptRef[], afterMs: number): Promise<void> {
  await db.run(GIVE_UP_LEASES, [JSON.stringify(refs), afterMs])
}

export interface LostAttempt extends AttemptRef {
  worker: string
  /** Its worker was running other attempts too, so this one is not blamed. */
  isShared: boolean
  /** How many earlier attempts of the task were lost. */
  lostBefore: number
  /** How many of those were alone in their worker. */
  lostAloneBefore: number
}

/** The error name of an attempt that was lost while it was alone in its worker. */
export const LOST_ALONE = 'WorkerLost'

const FIND_LOST_ATTEMPTS: Statement = {
  name: 'find_lost_attempts',
  // A worker's leases expire one after another, and the last must still be known to have had company.
  text: `
with lost as (
  select l.task_id, l.attempt, l.worker, l.shared, l.lease_until from taskwire.leases l where l.lease_until < now() order by l.lease_until limit $1
), crowded as (
  select l.worker from taskwire.leases l where l.worker in (select worker from lost) group by l.worker having count(*) > 1
), others as (
  select l.task_id from taskwire.leases l
  where l.worker in (select worker from crowded) and l.lease_until >= now() and not l.shared order by l.task_id for update skip locked
), marked as (
  update taskwire.leases l set shared = true from others o where l.task_id = any(array[o.task_id])
)
select l.task_id as "taskId", l.attempt, l.worker, l.shared or l.worker in (select worker from crowded) as "isShared",
  earlier.lost as "lostBefore", earlier.lost_alone as "lostAloneBefore"
from lost l, lateral (
  select count(*)::integer as lost, (count(*) filter (where a.error->>'name' = '${LOST_ALONE}'))::integer as lost_alone
  from taskwire.attempts a where a.task_id = l.task_id and a.outcome = 'lost'
) earlier order by l.lease_until`,
}

/**
 * Attempts whose lease has expired, at most `limit`. An expired lease cannot be revived, so the caller may settle them
 * as lost. Leases of the same worker that still hold are marked as shared.
 */
export function findLostAttempts(db: Database, limit: number): Promise<LostAttempt[]> {
  return db.run<LostAttempt>(FIND_LOST_ATTEMPTS, [limit])
}
