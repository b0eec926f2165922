/**
 * The statements that write new tasks, as text. There are two of each kind: plain creates do not pay for what may hold
 * other tasks back.
 */
import type { Statement } from '../../db/database.js'
import { asStatus } from '../../db/status-sql.js'
import type { TaskSlot } from '../../protocol/task.js'
import { appendArrivals, laneOf } from '../release/gates.js'
import { withClauses, writeDeliveries, writeHistory } from '../transition.js'

/** The columns and keys that one kind of create has in addition; empty for the plain one. */
export interface CreateParts {
  /** Columns of the input, as `, name type`, and their names. */
  columns: string
  names: string
  /** CTEs that follow the input. */
  keys: readonly string[]
  /** The tasks in it are written. */
  source: string
  answer: string
}

/**
 * The tasks are passed as one JSON text. For the caller that is a third of the work of one parameter per column; for
 * PostgreSQL it is the same.
 * @param isGated whether one of the tasks may be gated. Plain creates do not pay for that
 */
function createStatement(
  name: string,
  { columns, names, keys, source, answer }: CreateParts,
  isGated: boolean,
): Statement {
  const gateNames = isGated ? ', concurrency_key, sequence_key, cost, halts, schedule' : ''
  const lanes = isGated ? { laneId: `case when i.is_gated and m.run_at is null then ${laneOf('m')} end` } : {}
  const dueAt = `now() + case when i.is_handed_over then $1::double precision else 0 end * interval '1 ms'`
  return {
    name: isGated ? `${name}_gated` : name,
    text: withClauses(
      [
        `input as (
  select id, tenant, type, title, priority, tags, coalesce(payload, 'null') as payload, queue, "maxAttempts" as max_attempts, more,
    coalesce("isHandedOver", true) as is_handed_over, coalesce("runAt", now() + "delayMs" * interval '1 ms') as start_at${names}${
      isGated
        ? `, coalesce("isGated", more ?| array['concurrencyKey', 'sequenceKey'], false) as is_gated, more->>'concurrencyKey' as concurrency_key, more->>'sequenceKey' as sequence_key, (more->>'cost')::smallint as cost,
    case when more ? 'sequenceKey' then coalesce(more->>'onFailure', 'halt') = 'halt' end as halts, more->'schedule' as schedule`
        : ''
    }
  from json_to_recordset($2::text::json) as r (id uuid, tenant text, type text, title text, priority smallint, tags text[], payload jsonb,
    "runAt" timestamptz, "delayMs" double precision, queue text, "maxAttempts" integer, more jsonb, "isHandedOver" boolean${columns}${
      isGated ? ', "isGated" boolean' : ''
    })
)`,
        ...keys,
        `created as (
  insert into taskwire.tasks (id, tenant, type, title, priority, tags, payload, queue, max_attempts, status, run_at,
    expires_at, unique_key, parent_id, batch_id, callback_url${gateNames})
  select id, tenant, type, title, priority, tags, payload, queue, max_attempts,
    case when start_at > now() then ${asStatus('SCHEDULED')} else ${asStatus('PENDING')} end,
    case when start_at > now() then start_at end,
    (more->>'expiresAt')::timestamptz, more->>'uniqueKey', (more->>'parentId')::uuid, (more->>'batchId')::uuid, more->>'callbackUrl'${gateNames}
  from ${source}
  returning id, tenant, queue, priority, version, null::taskwire.task_status as from_status, status, attempt, null::text as reason, run_at,
    expires_at, created_at as at${isGated ? ', type, concurrency_key, sequence_key, halts' : ''}
)`,
        writeHistory('created'),
        writeDeliveries('created m join input i on i.id = m.id', {
          attempt: '1',
          dueAt: isGated
            ? `coalesce(m.run_at, case when i.is_gated then 'infinity' else ${dueAt} end)`
            : `coalesce(m.run_at, ${dueAt})`,
          ...lanes,
        }),
        ...(isGated
          ? [
              appendArrivals('created s join input i on i.id = s.id', { where: 'i.is_gated and s.run_at is null' }),
              JOIN_SEQUENCES,
              NOTE_TENANTS,
            ]
          : []),
      ],
      `select now()::timestamptz(3) as "createdAt",
  (select json_object_agg(id, run_at) from created where run_at is not null) as "startsById"${answer}`,
    ),
  }
}

/** In the order of their ids, which is that of their creation in this process. */
const JOIN_SEQUENCES = `sequence as (
  insert into taskwire.sequence_members (tenant, key, task_id, halts)
  select c.tenant, c.sequence_key, c.id, c.halts
  from created c
  where c.sequence_key is not null
  order by c.id
)`

/**
 * A queue of several tenants is shared fairly: see `isGated`. A row that is known is not locked, or creates would wait
 * for each other.
 */
const NOTE_TENANTS = `tenants as (
  insert into taskwire.queue_tenants (queue, tenant)
  select distinct c.queue, c.tenant
  from created c
  where not exists (
    select from taskwire.queue_tenants q where q.queue = c.queue and q.tenant = c.tenant and q.seen_at > now() - interval '5 minutes'
  )
  order by c.queue, c.tenant
  on conflict (queue, tenant) do update set seen_at = now()
)`

/** What decides which of the two statements writes a task. */
export interface MayBeGated {
  isGated?: boolean
  more?:
    | {
        concurrencyKey?: string | undefined
        sequenceKey?: string | undefined
        cost?: number | undefined
        schedule?: TaskSlot | undefined
      }
    | undefined
}

/** Makes both statements of a kind of create. Returns the one that writes these tasks. */
export function createStatements(name: string, parts: CreateParts): (tasks: readonly MayBeGated[]) => Statement {
  const plain = createStatement(name, parts, false)
  const gated = createStatement(name, parts, true)
  return (tasks) => (tasks.some(isOfGates) ? gated : plain)
}

function isOfGates({ isGated, more }: MayBeGated): boolean {
  return (
    isGated !== undefined ||
    [more?.concurrencyKey, more?.sequenceKey, more?.cost, more?.schedule].some((value) => value !== undefined)
  )
}
