/**
 * Changes a task that has not started. An edit is an event like a transition: the next version in the same status, with
 * a row of history that names the changed fields.
 *
 * In: the fields to change; fields left out stay. Out: the event, which the caller publishes after the commit. There is
 * none when every field already has its value, which makes no version. Undefined: the task has started meanwhile or is
 * not as expected, and is unchanged. A claim and an edit lock the row of the task, so an attempt runs with all of an
 * edit or none of it.
 */
import type { Principal } from '../../access/principal.js'
import { toArrayLiteral } from '../../db/array-literal.js'
import type { Database, Statement, Transaction } from '../../db/database.js'
import { inStatuses } from '../../db/status-sql.js'
import { IDLE_STATUSES } from '../../protocol/status.js'
import type { Event } from '../../protocol/stream.js'
import type { Task, TaskId } from '../../protocol/task.js'
import { FACTS, toEvent, type TransitionRow, TASK_COLUMNS, toTask, type TaskRow } from '../rows.js'
import { moveTasks } from '../transition.js'

export interface TaskEdit {
  title?: string | undefined
  payload?: unknown
  priority?: number | undefined
  tags?: readonly string[] | undefined
  /** ISO 8601; only for a SCHEDULED task. */
  runAt?: string | undefined
  /** ISO 8601; null for never. */
  expiresAt?: string | null | undefined
}

const EDITED = `array_remove(array[
    case when change->>'title' <> t.title then 'title' end,
    case when change ? 'payload' and change->'payload' <> t.payload then 'payload' end,
    case when (change->>'priority')::smallint <> t.priority then 'priority' end,
    case when $4::text::text[] <> t.tags then 'tags' end,
    case when change ? 'runAt' and (change->>'runAt')::timestamptz(3) is distinct from t.run_at then 'runAt' end,
    case when change ? 'expiresAt' and (change->>'expiresAt')::timestamptz(3) is distinct from t.expires_at then 'expiresAt' end
  ], null)`

/**
 * The fields that can be edited as they are stored, in one short text. What is shown of them is not compared: of `infinity` that is the last
 * instant there is, and of nested tags a flat list (see `stored-values.ts`).
 */
const STATE = `encode(sha256(convert_to(row(t.version, t.title, t.payload, t.priority, t.tags, t.run_at, t.expires_at)::text, 'UTF8')), 'base64')`

const READ_TASK_TO_EDIT: Statement = {
  name: 'read_task_to_edit',
  text: `select ${TASK_COLUMNS}, ${STATE} as state from taskwire.tasks t where t.id = any(array[$1::text::uuid]) and t.tenant = $2`,
}

/** The task, and the state that `editTaskIfWaiting` takes for it. */
export async function readTaskToEdit(
  { tenant }: Principal,
  db: Database,
  id: TaskId,
): Promise<{ task: Task; state: string } | undefined> {
  const [row] = await db.run<TaskRow & { state: string }>(READ_TASK_TO_EDIT, [id, tenant])
  return row && { task: toTask(row), state: row.state }
}

const EDIT_TASK = moveTasks({
  name: 'edit_task',
  input: [`input as (select $3::text::jsonb as change)`],
  current: {
    status: 't.status',
    reason: `'edited: ' || array_to_string(${EDITED}, ', ')`,
    columns: [`${EDITED} as edited`, 'input.change'],
    from: 'input',
    id: '$1::text::uuid',
    where: `t.tenant = $2
    and ($5::text is null or ${STATE} = $5::text)
    and t.status ${inStatuses(IDLE_STATUSES)} and (t.status = 'SCHEDULED' or not change ? 'runAt')`,
  },
  when: 'cardinality(c.edited) > 0',
  set: [
    `title = coalesce(c.change->>'title', t.title)`,
    `priority = coalesce((c.change->>'priority')::smallint, t.priority)`,
    `tags = coalesce($4::text::text[], t.tags)`,
    `payload = case when c.change ? 'payload' then c.change->'payload' else t.payload end`,
    `run_at = coalesce((c.change->>'runAt')::timestamptz, t.run_at)`,
    `expires_at = case when c.change ? 'expiresAt' then (c.change->>'expiresAt')::timestamptz else t.expires_at end`,
  ],
  returning: ['t.title', 't.payload', 't.priority', 't.tags', 't.run_at', 't.expires_at', FACTS],
  isEdit: true,
  follow: [
    `outbox as (
  update taskwire.deliveries d
  set priority = m.priority, expires_at = m.expires_at,
    -- Of another priority it waits in another lane, which the relay finds.
    lane_id = case when 'priority' <> all(m.edited) then d.lane_id end,
    is_released = d.is_released and 'priority' <> all(m.edited),
    due_at = case
      when 'runAt' = any(m.edited) then m.run_at
      when 'priority' = any(m.edited) and d.lane_id is not null then now()
      else d.due_at
    end
  from moved m
  where d.task_id = any(array[m.id])
)`,
  ],
  answer: `select c.id as "taskId", m.tenant, m.version, m.from_status as "fromStatus", m.status, m.attempt, m.at, m.reason,
  to_json(m.edited) as edited, to_json(m.edited) as standing, m.title, m.payload, m.priority, to_json(m.tags) as tags,
  m.run_at as "runAt", m.expires_at as "expiresAt", m.facts
from current c left join moved m on m.id = c.id`,
})

/** `version` is null when nothing changed. */
type EditRow = TransitionRow | { version: null }

/**
 * @param state as read by `readTaskToEdit`; the task is changed only if it is still the same. Default: any state
 * @returns the events to publish, none or one; undefined when the task cannot be edited, or is not as expected
 */
export async function editTaskIfWaiting(
  { tenant }: Principal,
  db: Transaction,
  id: TaskId,
  { tags, ...change }: TaskEdit,
  state?: string,
): Promise<Event[] | undefined> {
  const parameters = [
    id,
    tenant,
    JSON.stringify(change),
    tags === undefined ? null : toArrayLiteral(tags),
    state ?? null,
  ]
  const [row] = await db.run<EditRow>(EDIT_TASK, parameters)
  if (row === undefined) return undefined
  return row.version === null ? [] : [toEvent(row)]
}
