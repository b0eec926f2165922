/**
 * The ledger of effects that handlers had outside this database: one row per effect, by task and key.
 *
 * An effect is recorded whether or not its attempt is still current, because it has happened. Whether the attempt may
 * continue is returned separately.
 */
import type { Database, Statement } from '../../db/database.js'
import { inStatuses } from '../../db/status-sql.js'
import { RUNNING_STATUSES } from '../../protocol/status.js'
import type { AttemptRef } from './claim.js'

const FIND_EFFECT: Statement = {
  name: 'find_effect',
  text: `
select t.attempt = $2::integer and t.status ${inStatuses(RUNNING_STATUSES)} as "isCurrent", e.key is not null as "isRecorded",
  e.value, e.failure
from taskwire.tasks t left join taskwire.effects e on e.task_id = any(array[t.id]) and e.key = $3
where t.id = any(array[$1::text::uuid])`,
}

export interface KnownEffect {
  isCurrent: boolean
  isRecorded: boolean
  value: unknown
  /** Why the value of an effect that happened could not be recorded; null when it was. */
  failure: string | null
}

/** The recorded effect, if any, and whether the attempt is still the task's current one. */
export async function findEffect(db: Database, { taskId, attempt }: AttemptRef, key: string): Promise<KnownEffect> {
  const [row] = await db.run<KnownEffect>(FIND_EFFECT, [taskId, attempt, key])
  return row ?? { isCurrent: false, isRecorded: false, value: undefined, failure: null }
}

const RECORD_EFFECT: Statement = {
  name: 'record_effect',
  text: `
insert into taskwire.effects (task_id, key, tenant, attempt, value, failure)
select t.id, $3, t.tenant, $2::integer, $4::text::jsonb, $5 from taskwire.tasks t where t.id = any(array[$1::text::uuid])
on conflict (task_id, key) do nothing`,
}

/** The record of an effect: its value, or why there is none. */
export type EffectRecord = { value: unknown } | { failure: string }

/** Records an effect. The first record of an effect is kept. */
export async function recordEffect(
  db: Database,
  { taskId, attempt }: AttemptRef,
  key: string,
  record: EffectRecord,
): Promise<void> {
  const [value, failure] = 'failure' in record ? [null, record.failure] : [record.value, null]
  await db.run(RECORD_EFFECT, [taskId, attempt, key, JSON.stringify(value), failure])
}
