/**
 * Changes a task that has not started. In: the fields to change; those left out stay. Out: whether it was changed. A task that
 * has started meanwhile, or is not as it was expected to be, is left as it is.
 */
import type { Database, Statement } from '../../db/database.js'
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Task, TaskId } from '../../protocol/task.js'

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
with input as (select $3::text::jsonb as change, $5::text::jsonb as expected), current as (
  select t.id from taskwire.tasks t, input
  where t.id = any(array[$1::text::uuid]) and t.tenant = $2
    and (expected is null or (t.version = (expected->>'version')::integer and t.title = expected->>'title' and t.payload = expected->'payload'
      and t.priority = (expected->>'priority')::integer and to_jsonb(t.tags) = expected->'tags'
      and t.run_at is not distinct from (expected->>'runAt')::timestamptz and t.expires_at is not distinct from (expected->>'expiresAt')::timestamptz))
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

/** @param expected the task as it was read; only if it is still so, it is changed. Any state when left out */
export async function editTaskIfWaiting(db: Database, tenant: string, id: TaskId, { tags, ...change }: TaskEdit, expected?: Task): Promise<boolean> {
  const parameters = [id, tenant, JSON.stringify(change), tags === undefined ? null : toArrayLiteral(tags), expected === undefined ? null : JSON.stringify(expected)]
  return (await db.run(EDIT_TASK, parameters)).length > 0
}
