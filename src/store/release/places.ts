/**
 * Reads where tasks stand: how many are ahead of them, among those that the broker has, and among those that wait in
 * lanes.
 *
 * Tasks that share a queue or a lane share its count. Each count reads at most 10,000 entries of an index.
 */
import type { Database, Statement } from '../../db/database.js'
import type { TaskId } from '../../protocol/task.js'
import { MAX_COUNTED } from './explain.js'

/** The most lanes of a group that are counted. */
const MAX_LANES = 1_000

/** A task, and what blocks its lane, as in `lanes.blocked_by`; empty when nothing does. */
export interface PlaceRequest {
  id: TaskId
  blocker: string
}

/** A task's place. */
export interface PlaceRow {
  id: TaskId
  queue: string
  priority: number
  tenant: string
  blocker: string
  /** Null when it is not in a lane, or was released. */
  laneId: string | null
  /** How many are ahead of it in its lane; null beyond what is counted. */
  laneAhead: number | null
  /** How many are ahead of it in the broker; null when it is not there, or beyond what is counted. */
  brokerAhead: number | null
}

/** What waits in one lane of those that compete with the asked tasks. */
export interface LaneSize {
  queue: string
  priority: number
  blocker: string
  tenant: string
  laneId: string
  /** Whether its priority is higher. */
  isHigher: boolean
  count: number
}

export interface QueueLoad {
  queue: string
  running: number
  /** Of those that may be claimed. */
  released: number
  /** Not yet started, and not in a lane. */
  waiting: number
}

export interface Places {
  tasks: PlaceRow[]
  lanes: LaneSize[]
  queues: QueueLoad[]
}

const READ_PLACES: Statement = {
  name: 'read_places',
  text: `
with asked as materialized (
  select t.id, t.tenant, t.queue, t.priority, i.blocker, d.ready_at, case when not d.is_released then d.lane_id end as lane_id
  from json_to_recordset($1::text::json) as i(id uuid, blocker text)
  join taskwire.tasks t on t.id = any(array[i.id])
  left join taskwire.deliveries d on d.task_id = any(array[t.id])
), queues as materialized (
  select distinct queue from asked
), dispatched as materialized (
  select q.queue, d.task_id, d.is_released, row_number() over (partition by q.queue order by d.is_released desc, d.priority desc, d.task_id) - 1 as ahead
  from queues q cross join lateral (
    select d.task_id, d.is_released, d.priority
    from taskwire.deliveries d
    where d.queue = q.queue and d.due_at <= now() + interval '1 minute'
    order by d.due_at
    limit ${MAX_COUNTED}
  ) d
), running as materialized (
  select t.queue, count(*) as count
  from (select l.task_id from taskwire.leases l limit ${MAX_COUNTED}) l join taskwire.tasks t on t.id = any(array[l.task_id])
  group by t.queue
), in_lanes as materialized (
  select l.lane_id, d.task_id, row_number() over (partition by l.lane_id order by d.ready_at, d.task_id) - 1 as ahead
  from (select a.lane_id, max(a.ready_at) as ready_at, count(*) over () as lanes from asked a where a.lane_id is not null group by a.lane_id) l
  cross join lateral (
    select d.task_id, d.ready_at
    from taskwire.deliveries d
    where d.lane_id = l.lane_id and not d.is_released and d.ready_at <= l.ready_at
    order by d.ready_at, d.task_id
    limit greatest(200, 10 * ${MAX_COUNTED} / greatest(10, l.lanes))
  ) d
), groups as materialized (
  select a.queue, a.priority, a.blocker, coalesce(max(p.ahead), ${MAX_COUNTED}) + 1 as depth
  from asked a left join in_lanes p on p.task_id = a.id
  where a.lane_id is not null
  group by a.queue, a.priority, a.blocker
), competing as (
  select g.*, l.tenant, l.id as lane_id, l.priority > g.priority as is_higher
  from groups g cross join lateral (
    select l.id, l.tenant, l.priority
    from taskwire.lanes l
    where l.queue = g.queue and l.priority >= g.priority and l.is_waiting and l.blocked_by is null
    limit ${MAX_LANES}
  ) l
  where g.blocker = ''
  union all
  select g.*, l.tenant, l.id, l.priority > g.priority
  from groups g cross join lateral (
    select l.id, l.tenant, l.priority
    from taskwire.lanes l
    where l.blocked_by = g.blocker
    limit ${MAX_LANES}
  ) l
  where g.blocker <> ''
), sizes as (
  select c.queue, c.priority, c.blocker, c.tenant, c.lane_id, c.is_higher, count(*) as count
  from (
    select c.*
    from competing c cross join lateral (
      select from taskwire.deliveries d
      where d.lane_id = c.lane_id and not d.is_released
      order by d.ready_at
      limit case when c.is_higher then ${MAX_COUNTED} else c.depth end
    ) d
    limit 2 * ${MAX_COUNTED}
  ) c
  group by c.queue, c.priority, c.blocker, c.tenant, c.lane_id, c.is_higher
)
select
  (
    select json_agg(json_build_object('id', a.id, 'queue', a.queue, 'priority', a.priority, 'tenant', a.tenant, 'blocker', a.blocker,
      'laneId', a.lane_id::text, 'laneAhead', l.ahead, 'brokerAhead', p.ahead))
    from asked a left join in_lanes l on l.task_id = a.id left join dispatched p on p.task_id = a.id
  ) as tasks,
  (
    select json_agg(json_build_object('queue', s.queue, 'priority', s.priority, 'blocker', s.blocker, 'tenant', s.tenant, 'laneId', s.lane_id::text,
      'isHigher', s.is_higher, 'count', s.count))
    from sizes s
  ) as lanes,
  (
    select json_agg(json_build_object('queue', q.queue, 'running', coalesce(r.count, 0),
      'released', (select count(*) from dispatched p where p.queue = q.queue and p.is_released), 'waiting', (select count(*) from dispatched p where p.queue = q.queue)))
    from queues q left join running r on r.queue = q.queue
  ) as queues`,
}

export async function readPlaces(db: Database, requests: readonly PlaceRequest[]): Promise<Places> {
  const [row] = await db.run<{ [Key in keyof Places]: Places[Key] | null }>(READ_PLACES, [JSON.stringify(requests)])
  return { tasks: row?.tasks ?? [], lanes: row?.lanes ?? [], queues: row?.queues ?? [] }
}
