/**
 * Changes a task that has not started. In: the fields to change; those left out stay. Out: whether it was changed. A task that
 * has started meanwhile, or stands at another version than the one expected, is left as it is.
 */
import type { Database, Statement } from '../../db/database.js'
import { toArrayLiteral } from '../../db/array-literal.js'
import type { TaskId } from '../../protocol/task.js'

export interface TaskEdit {
  title?: string | undefined
  payload?: unknown
  priority?: number | undefined
  tags?: readonly string[] | undefined
  /** ISO 8601; only of a task that is SCHEDULED. */
  runAt?: string | undefined
  /** ISO 8601; null for never. */
  expiresAt?: string | null | undefined
}

const EDIT_TASK: Statement = {
  name: 'edit_task',
  text: `
with input as (select $3::text::jsonb as change), current as (
  select t.id from taskwire.tasks t, input
  where t.id = any(array[$1::text::uuid]) and t.tenant = $2 and t.version = coalesce($5::text::integer, t.version)
    and t.status in ('SCHEDULED', 'WAITING', 'PENDING', 'RETRYING') and (t.status = 'SCHEDULED' or not change ? 'runAt')
  for update of t
), edited as (
  update taskwire.tasks t
  set title = coalesce(change->>'title', t.title), priority = coalesce((change->>'priority')::smallint, t.priority),
    tags = coalesce($4::text::text[], t.tags),
    payload = case when change ? 'payload' then change->'payload' else t.payload end,
    run_at = coalesce((change->>'runAt')::timestamptz, t.run_at),
    expires_at = case when change ? 'expiresAt' then (change->>'expiresAt')::timestamptz else t.expires_at end
  from current c, input where t.id = any(array[c.id])
  returning t.id, t.priority, t.expires_at
), outbox as (
  update taskwire.deliveries d
  set priority = e.priority, expires_at = e.expires_at, due_at = coalesce((change->>'runAt')::timestamptz, d.due_at)
  from edited e, input where d.task_id = any(array[e.id])
)
select id from edited`,
}

/** @param version the only one that may be changed; any when left out */
export async function editTaskIfWaiting(db: Database, tenant: string, id: TaskId, { tags, ...change }: TaskEdit, version?: number): Promise<boolean> {
  const rows = await db.run(EDIT_TASK, [id, tenant, JSON.stringify(change), tags === undefined ? null : toArrayLiteral(tags), version === undefined ? null : String(version)])
  return rows.length > 0
}
