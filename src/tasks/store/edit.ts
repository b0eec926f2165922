/**
 * Changes a task that has not started. An edit is an event like a transition: the next version, in the same status, with a row of history
 * that names the fields it changed.
 *
 * In: the fields to change; those left out stay. Out: the event, to be published by the caller after the commit; none when every field has
 * its value already, which makes no version. Undefined: the task has started meanwhile, or is not as it was expected to be, and is left as
 * it is. A claim and an edit lock the row of the task, so that an attempt runs with all of an edit or without it.
 */
import { EDITABLE_STATUSES } from '../../protocol/status.js'
import type { Database, Statement } from '../../db/database.js'
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Event } from '../../protocol/stream.js'
import type { Task, TaskId } from '../../protocol/task.js'
import { FACTS, toEvent, type TransitionRow } from './rows.js'

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
  select t.id, array_remove(array[
    case when change->>'title' <> t.title then 'title' end,
    case when change ? 'payload' and change->'payload' <> t.payload then 'payload' end,
    case when (change->>'priority')::smallint <> t.priority then 'priority' end,
    case when $4::text::text[] <> t.tags then 'tags' end,
    case when change ? 'runAt' and (change->>'runAt')::timestamptz(3) is distinct from t.run_at then 'runAt' end,
    case when change ? 'expiresAt' and (change->>'expiresAt')::timestamptz(3) is distinct from t.expires_at then 'expiresAt' end
  ], null) as edited
  from taskwire.tasks t, input
  where t.id = any(array[$1::text::uuid]) and t.tenant = $2
    and (expected is null or (t.version = (expected->>'version')::integer and t.title = expected->>'title' and t.payload = expected->'payload'
      and t.priority = (expected->>'priority')::integer and to_jsonb(t.tags) = expected->'tags'
      and t.run_at is not distinct from (expected->>'runAt')::timestamptz and t.expires_at is not distinct from (expected->>'expiresAt')::timestamptz))
    and t.status in (${EDITABLE_STATUSES.map((status) => `'${status}'`).join(', ')}) and (t.status = 'SCHEDULED' or not change ? 'runAt')
  for update of t
), edited as (
  update taskwire.tasks t
  set version = t.version + 1, title = coalesce(change->>'title', t.title), priority = coalesce((change->>'priority')::smallint, t.priority),
    tags = coalesce($4::text::text[], t.tags),
    payload = case when change ? 'payload' then change->'payload' else t.payload end,
    run_at = coalesce((change->>'runAt')::timestamptz, t.run_at),
    expires_at = case when change ? 'expiresAt' then (change->>'expiresAt')::timestamptz else t.expires_at end
  from current c, input where t.id = any(array[c.id]) and cardinality(c.edited) > 0
  returning t.id, t.tenant, t.version, t.status, t.attempt, t.title, t.payload, t.priority, t.tags, t.run_at, t.expires_at, c.edited,
    'edited: ' || array_to_string(c.edited, ', ') as reason, now()::timestamptz(3) as at, ${FACTS}
), history as (
  insert into taskwire.transitions (task_id, version, tenant, from_status, status, attempt, at, reason, edited)
  select id, version, tenant, status, status, attempt, at, reason, edited from edited
), outbox as (
  update taskwire.deliveries d
  set priority = e.priority, expires_at = e.expires_at, due_at = case when 'runAt' = any(e.edited) then e.run_at else d.due_at end
  from edited e where d.task_id = any(array[e.id])
)
select c.id as "taskId", e.version, e.status as "fromStatus", e.status, e.attempt, e.at, e.reason, to_json(e.edited) as edited,
  to_json(e.edited) as standing, e.title, e.payload, e.priority, to_json(e.tags) as tags, e.run_at as "runAt", e.expires_at as "expiresAt", e.facts
from current c left join edited e on e.id = c.id`,
}

/** `version` is null when nothing changed. */
type EditRow = TransitionRow | { version: null }

/**
 * @param expected the task as it was read; only if it is still so, it is changed. Any state when left out
 * @returns the events to publish, none or one; undefined when the task cannot be edited, or is not as expected
 */
export async function editTaskIfWaiting(
  db: Database,
  tenant: string,
  id: TaskId,
  { tags, ...change }: TaskEdit,
  expected?: Task,
): Promise<Event[] | undefined> {
  const parameters = [id, tenant, JSON.stringify(change), tags === undefined ? null : toArrayLiteral(tags), expected === undefined ? null : JSON.stringify(expected)]
  const [row] = await db.run<EditRow>(EDIT_TASK, parameters)
  if (row === undefined) return undefined
  return row.version === null ? [] : [toEvent(row)]
}
