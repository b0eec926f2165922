/** Sequences that are halted: their first task has failed or expired, and the others wait until a person resumes them. */
import type { Principal } from '../../access/principal.js'
import type { Database, Statement } from '../../db/database.js'
import type { HaltedSequence } from '../../protocol/release.js'

/** Counts go no further. */
const MAX_COUNTED = 10_000

const LIST_HALTED: Statement = {
  name: 'list_halted_sequences',
  text: `
select h.key, h.task_id as "haltedBy", h.halted_at as "haltedAt", (
    select count(*)::integer
    from (
      select from taskwire.sequence_members m where m.tenant = $1 and m.key = h.key and m.halted_at is null limit ${MAX_COUNTED}
    ) counted
  ) as waiting
from taskwire.sequence_members h
where h.tenant = $1 and h.halted_at is not null and h.position = (
    select min(m.position) from taskwire.sequence_members m where m.tenant = $1 and m.key = h.key
  )
order by h.halted_at desc, h.key
limit 1000`,
}

/** The halted sequences of the principal's tenant, the latest first; at most 1,000. */
export async function listHaltedSequences(principal: Principal, db: Database): Promise<HaltedSequence[]> {
  const rows = await db.run<Omit<HaltedSequence, 'haltedAt'> & { haltedAt: Date }>(LIST_HALTED, [principal.tenant])
  return rows.map((row) => ({ ...row, haltedAt: row.haltedAt.toISOString() }))
}

/** Removes the failed and expired tasks ahead of the first one that has not ended. */
const RESUME_SEQUENCE: Statement = {
  name: 'resume_sequence',
  text: `
with removed as (
  delete from taskwire.sequence_members h
  where h.tenant = $1 and h.key = $2 and h.halted_at is not null and not exists (
    select from taskwire.sequence_members m where m.tenant = $1 and m.key = $2 and m.position < h.position and m.halted_at is null
  )
  returning h.task_id
), woken as (
  insert into taskwire.wakes (blocked_by)
  select 'sequence ' || $1 || ' ' || $2 where exists (select from removed)
)
select task_id from removed`,
}

/**
 * Lets a halted sequence go on, without the task that has halted it.
 * @returns whether it was halted
 */
export async function resumeSequence(principal: Principal, db: Database, key: string): Promise<boolean> {
  return (await db.run(RESUME_SEQUENCE, [principal.tenant, key])).length > 0
}
