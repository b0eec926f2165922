/**
 * Reads where tasks stand: how many are ahead of them, among those that the broker has, and among those that wait in
 * lanes.
 *
 * Tasks that share a queue or a lane share its count. Each count reads at most 10,000 entries of an index. Costs are
 * read from the tasks, and so only of the first of them.
 */
import type { Database, Statement } from '../../db/database.js'
import type { TaskId } from '../../protocol/task.js'
import { MAX_COUNTED } from './explain.js'

/** The most lanes of a group that are counted. */
const MAX_LANES = 1_000
/** The most tasks whose costs are read, for all lanes together, and for those that compete with a lane. */
const MAX_COSTED = 2_000
const MAX_COSTED_OTHERS = 200

/** A task, and what blocks its lane, as in `lanes.blocked_by`; empty when nothing does. */
export interface PlaceRequest {
  id: TaskId
  blocker: string
  /** Whether it waits for a rate, so that the costs of those ahead of it count. */
  isRated: boolean
}

/** A task's place. */
export interface PlaceRow {
  id: TaskId
  queue: string
  priority: number
  tenant: string
  key: string
  blocker: string
  /** The limit that its lane is still blocked by, although nothing blocks it any more; else empty. */
  wasBlockedBy: string
  /** Null when it is not in a lane, or was released. */
  laneId: string | null
  /** How many are ahead of it in its lane; null beyond what is counted. */
  laneAhead: number | null
  /** How many are ahead of it in the broker; null when it is not there, or beyond what is counted. */
  brokerAhead: number | null
  /** With `isRated`: what the first of these tasks cost, and how many they are. */
  laneCost: number | null
  laneCosted: number | null
}

/** What waits in one lane of those that compete with the asked tasks. */
export interface LaneSize {
  queue: string
  priority: number
  blocker: string
  wasBlockedBy: string
  tenant: string
  type: string
  key: string
  laneId: string
  /** The order in which the lanes have their turns. */
  turn: number
  /** Whether its priority is higher. */
  isHigher: boolean
  count: number
}

/** What tasks cost, on average, in the lanes that compete with the asked tasks. */
export interface LaneCost {
  queue: string
  priority: number
  blocker: string
  mean: number
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
  costs: LaneCost[]
  queues: QueueLoad[]
}

const READ_PLACES: Statement = {
  name: 'read_places',
  text: `
with asked as materialized (
  select t.id, t.tenant, t.queue, t.priority, coalesce(t.concurrency_key, '') as key, i.blocker, i."isRated" as is_rated, d.ready_at,
    case when not d.is_released then d.lane_id end as lane_id,
    case when i.blocker = '' and l.blocked_by like 'limit %' then l.blocked_by else '' end as was_blocked_by
  from json_to_recordset($1::text::json) as i(id uuid, blocker text, "isRated" boolean)
  join taskwire.tasks t on t.id = any(array[i.id])
  left join taskwire.deliveries d on d.task_id = any(array[t.id])
  left join taskwire.lanes l on l.id = any(array[d.lane_id]) and not d.is_released
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
  select l.lane_id, d.task_id, row_number() over (partition by l.lane_id order by d.ready_at, d.task_id) - 1 as ahead,
    case when l.is_rated then greatest(10, ${MAX_COSTED} / l.lanes) else 0 end as costed
  from (
    select a.lane_id, max(a.ready_at) as ready_at, bool_or(a.is_rated) as is_rated, count(*) over () as lanes
    from asked a
    where a.lane_id is not null
    group by a.lane_id
  ) l
  cross join lateral (
    select d.task_id, d.ready_at
    from taskwire.deliveries d
    where d.lane_id = l.lane_id and not d.is_released and d.ready_at <= l.ready_at
    order by d.ready_at, d.task_id
    limit greatest(200, 10 * ${MAX_COUNTED} / greatest(10, l.lanes))
  ) d
), lane_costs as materialized (
  select p.lane_id, p.ahead, sum(coalesce(t.cost, 1)) over (partition by p.lane_id order by p.ahead) as cost
  from in_lanes p join taskwire.tasks t on t.id = any(array[p.task_id])
  where p.ahead < p.costed
), groups as materialized (
  select a.queue, a.priority, a.blocker, a.was_blocked_by, bool_or(a.is_rated) as is_rated, coalesce(max(p.ahead), ${MAX_COUNTED}) + 1 as depth,
    count(*) over () as groups
  from asked a left join in_lanes p on p.task_id = a.id
  where a.lane_id is not null
  group by a.queue, a.priority, a.blocker, a.was_blocked_by
), members as materialized (
  select g.*, l.id as lane_id, l.tenant, l.type, l.key, l.tag, l.released_at, l.priority as own_priority
  from groups g cross join lateral (
    select l.*
    from taskwire.lanes l
    where l.queue = g.queue and l.priority >= g.priority and l.is_waiting and l.blocked_by is null
    limit least(${MAX_LANES}, greatest(100, 10 * ${MAX_LANES} / g.groups))
  ) l
  where g.blocker = ''
  union all
  select g.*, l.id, l.tenant, l.type, l.key, l.tag, l.released_at, l.priority
  from groups g cross join lateral (
    select l.*
    from taskwire.lanes l
    where l.blocked_by = coalesce(nullif(g.blocker, ''), g.was_blocked_by)
    limit least(${MAX_LANES}, greatest(100, 10 * ${MAX_LANES} / g.groups))
  ) l
  where g.blocker <> '' or g.was_blocked_by <> ''
), competing as materialized (
  select m.*, m.own_priority > m.priority as is_higher, row_number() over (
      partition by m.queue, m.priority, m.blocker, m.was_blocked_by
      order by m.own_priority desc, s.tag nulls first, m.tag, m.released_at nulls first, m.lane_id
    ) as turn
  from members m
  left join taskwire.shares s on s.queue = m.queue and s.priority = m.own_priority and s.tenant = m.tenant
), costs as (
  select g.queue, g.priority, g.blocker, mean.cost
  from groups g cross join lateral (
    select avg(coalesce(t.cost, 1)) as cost
    from (
      select d.task_id
      from competing c cross join lateral (
        select d.task_id from taskwire.deliveries d where d.lane_id = c.lane_id and not d.is_released order by d.ready_at limit 20
      ) d
      where c.queue = g.queue and c.priority = g.priority and c.blocker = g.blocker
      limit ${MAX_COSTED_OTHERS}
    ) d join taskwire.tasks t on t.id = any(array[d.task_id])
  ) mean
  where g.is_rated
), sizes as (
  select c.queue, c.priority, c.blocker, c.was_blocked_by, c.tenant, c.type, c.key, c.lane_id, c.turn, c.is_higher, count(*) as count
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
  group by c.queue, c.priority, c.blocker, c.was_blocked_by, c.tenant, c.type, c.key, c.lane_id, c.turn, c.is_higher
)
select
  (
    select json_agg(json_build_object('id', a.id, 'queue', a.queue, 'priority', a.priority, 'tenant', a.tenant, 'key', a.key,
      'blocker', a.blocker, 'wasBlockedBy', a.was_blocked_by, 'laneId', a.lane_id::text, 'laneAhead', l.ahead, 'brokerAhead', p.ahead,
      'laneCost', c.cost, 'laneCosted', c.ahead + 1))
    from asked a
    left join in_lanes l on l.task_id = a.id
    left join dispatched p on p.task_id = a.id
    left join lane_costs c on c.lane_id = a.lane_id and c.ahead = least(l.ahead, l.costed) - 1
  ) as tasks,
  (
    select json_agg(json_build_object('queue', s.queue, 'priority', s.priority, 'blocker', s.blocker, 'wasBlockedBy', s.was_blocked_by,
      'tenant', s.tenant, 'type', s.type, 'key', s.key, 'laneId', s.lane_id::text, 'turn', s.turn, 'isHigher', s.is_higher, 'count', s.count))
    from sizes s
  ) as lanes,
  (
    select json_agg(json_build_object('queue', c.queue, 'priority', c.priority, 'blocker', c.blocker, 'mean', c.cost)) from costs c where c.cost is not null
  ) as costs,
  (
    select json_agg(json_build_object('queue', q.queue, 'running', coalesce(r.count, 0),
      'released', (select count(*) from dispatched p where p.queue = q.queue and p.is_released), 'waiting', (select count(*) from dispatched p where p.queue = q.queue)))
    from queues q left join running r on r.queue = q.queue
  ) as queues`,
}

export async function readPlaces(db: Database, requests: readonly PlaceRequest[]): Promise<Places> {
  const [row] = await db.run<{ [Key in keyof Places]: Places[Key] | null }>(READ_PLACES, [JSON.stringify(requests)])
  return { tasks: row?.tasks ?? [], lanes: row?.lanes ?? [], costs: row?.costs ?? [], queues: row?.queues ?? [] }
}
