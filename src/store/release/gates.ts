/**
 * What may hold a task back, as text for statements.
 *
 * A task is *gated* when anything may hold it: its queue, type, tenant or key has a limit or a pause, its queue is shared
 * by tenants, or it is part of a sequence. Its delivery waits in a lane for its release. All other tasks are *open*:
 * committed, dispatched, claimed.
 */
import { asStatus } from '../../db/status-sql.js'

/** Whether this pause is about the task. */
export const isPausedBy = (p: string, t: string) => `(
    (${p}.kind = 'queue' and ${p}.name = ${t}.queue) or (${p}.kind = 'type' and ${p}.name = ${t}.type)
    or (${p}.kind = 'tenant' and ${p}.name = ${t}.tenant) or (${p}.kind = 'key' and ${p}.tenant = ${t}.tenant and ${p}.name = ${t}.concurrency_key)
  ) and (${p}.until is null or ${p}.until > now())`

/** Whether this limit is about the task. As `taskwire.applies`, which is about lanes. */
export const limitApplies = (l: string, t: string) =>
  `(${l}.types is null or ${t}.type = any (${l}.types)) and (${l}.queue is null or ${l}.queue = ${t}.queue)
    and (${l}.tenant is null or ${l}.tenant = ${t}.tenant) and (${l}.per <> 'key' or ${t}.concurrency_key is not null)`

/** Whether a pause holds the task. @param t alias of `tasks` */
export const isPaused = (t: string) => `exists (select from taskwire.pauses p where ${isPausedBy('p', t)})`

/**
 * What there is none of is asked for once per statement, and not for each task: hence the selects that mention no task.
 * @param t alias of `tasks`, or of rows with these columns of it
 */
export const isGated = (t: string) => `(
    ${t}.concurrency_key is not null or ${t}.sequence_key is not null
    or (select exists (select from taskwire.pauses)) and ${isPaused(t)}
    or (select exists (select from taskwire.limits)) and exists (
      select from taskwire.limits l
      where l.per <> 'key' and ${limitApplies('l', t)}
    )
    or (select exists (
        select from taskwire.queue_tenants q
        where q.tenant <> (select o.tenant from taskwire.queue_tenants o order by o.queue, o.tenant limit 1)
      ))
      and exists (select from taskwire.queue_tenants q where q.queue = ${t}.queue offset 1)
  )`

const LANE_COLUMNS = 'lane_id, queue, tenant, type, priority, key, sequence_key'

/**
 * The id of the lane of a task. Those in RETRYING have a lane of their own, which takes turns with the other: so they get
 * at most half of the starts while others wait, however many they are. Not in a sequence, whose order is fixed.
 * @param t as in `isGated`
 * @param status the status in which the attempt waits; omitted for new tasks
 */
export const laneOf = (t: string, status?: string) =>
  `taskwire.lane_id(${t}.queue, ${t}.tenant, ${t}.type, ${t}.priority, coalesce(${t}.concurrency_key, ''), coalesce(${t}.sequence_key, ''))` +
  (status === undefined
    ? ''
    : ` # (case when ${status} = ${asStatus('RETRYING')} and ${t}.sequence_key is null then 1 else 0 end)::bigint`)

/**
 * Tells the release that these lanes have got deliveries.
 * @param source a relation `s` with columns of the tasks
 * @param status as in `laneOf`
 */
export const appendArrivals = (
  source: string,
  { where = 'true', status }: { where?: string; status?: string } = {},
) => `arrival as (
  insert into taskwire.arrivals (${LANE_COLUMNS})
  select distinct ${laneOf('s', status)}, s.queue, s.tenant, s.type, s.priority, coalesce(s.concurrency_key, ''), coalesce(s.sequence_key, '')
  from ${source}
  where ${where}
)`
