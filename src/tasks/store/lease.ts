/** Signs of life of running attempts, and the search for those that give none. */
import type { Database, Statement } from '../../db/database.js'
import type { AttemptRef } from './claim.js'

const RENEW_LEASES: Statement = {
  name: 'renew_leases',
  text: `
update taskwire.attempts a set lease_until = now() + $2::double precision * interval '1 ms'
from json_to_recordset($1::text::json) as r("taskId" uuid, attempt integer)
where a.task_id = r."taskId" and a.attempt = r.attempt and a.outcome is null and a.lease_until >= now()
returning a.task_id as "taskId", a.attempt`,
}

/**
 * Extends the leases that still hold, and returns those attempts. A lease that has run out stays so: from then on the
 * attempt may be rescued at any moment, and its worker has to give it up.
 */
export function renewLeasesIfHeld(db: Database, refs: readonly AttemptRef[], leaseMs: number): Promise<AttemptRef[]> {
  return db.run<AttemptRef>(RENEW_LEASES, [JSON.stringify(refs), leaseMs])
}

export interface LostAttempt extends AttemptRef {
  worker: string
  /** How many earlier attempts of the task were lost. */
  lostBefore: number
}

const FIND_LOST_ATTEMPTS: Statement = {
  name: 'find_lost_attempts',
  text: `
select a.task_id as "taskId", a.attempt, a.worker,
  (select count(*)::integer from taskwire.attempts b where b.task_id = a.task_id and b.outcome = 'lost') as "lostBefore"
from taskwire.tasks t join taskwire.attempts a on a.task_id = t.id and a.attempt = t.attempt
where t.status = 'PROCESSING' and a.outcome is null and a.lease_until < now()
order by t.id limit $1`,
}

/** Attempts whose lease has run out, at most `limit`. A lease that has run out cannot be revived, so the caller may settle them as lost. */
export function findLostAttempts(db: Database, limit: number): Promise<LostAttempt[]> {
  return db.run<LostAttempt>(FIND_LOST_ATTEMPTS, [limit])
}
